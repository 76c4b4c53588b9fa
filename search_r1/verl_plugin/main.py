"""Train from a resolved config file: ``python -m search_r1.verl_plugin.main RUN_DIR/config.yaml``.

``train.sh`` writes that file; use it, unless you drive verl yourself.
"""

from __future__ import annotations

import sys

import ray
from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.device import auto_set_device

from search_r1.verl_plugin.parts import check_prompts
from search_r1.verl_plugin.settings import read_settings
from search_r1.verl_plugin.trainer import SearchTaskRunner


def check(config: DictConfig) -> None:
    """Run verl's own validation and ours; raises on the first thing that is wrong."""
    read_settings(config)
    auto_set_device(config)
    validate_config(
        config=config,
        use_reference_policy=need_reference_policy(config),
        use_critic=need_critic(config),
    )


def main() -> None:
    """Load, check, train."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m search_r1.verl_plugin.main CONFIG.yaml")
    config = OmegaConf.load(sys.argv[1])
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    check(config)
    check_prompts(config)
    run_ppo(config, task_runner_class=ray.remote(num_cpus=1)(SearchTaskRunner))


if __name__ == "__main__":
    main()
