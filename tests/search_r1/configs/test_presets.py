"""Every preset composes with verl's own config, and passes its validation without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search_r1.configs import presets
from search_r1.errors import UsageError
from search_r1.launch import derive

ROOT = Path(__file__).resolve().parents[3]
CPU_NAMES = ["quickstart", "quickstart_hermes", "prove_cpu"]
GPU_NAMES = ["grpo_3b_8gpu", "grpo_lora_1gpu", "multinode", "ppo_7b_8gpu", "prove_gpu"]
NAMES = {*CPU_NAMES, *GPU_NAMES}

VALIDATE = """
import contextlib, json, sys
from pathlib import Path
from search_r1.launch import plan
answers = {}
with contextlib.redirect_stdout(sys.stderr):
    for name in sys.argv[2:]:
        made = plan.make_plan(name, [], Path(sys.argv[1]))
        plan.check(made.config)
        answers[name] = made.config
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every preset after verl's validation; one process imports verl for all of them.

    The quickstarts come last: they set VERL_PLATFORM, which the GPU presets must do without.
    """
    names = [*GPU_NAMES, *CPU_NAMES]
    env = {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}
    result = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(tmp_path_factory.mktemp("runs")), *names],
        capture_output=True,
        cwd=ROOT,
        env=env | {"HF_HUB_OFFLINE": "1"},  # nothing may be fetched to check a config
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()[-3000:]
    made: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return made


def test_the_presets_are_listed_with_a_line_each_the_default_first() -> None:
    listed = presets.list_presets()
    assert set(listed) == NAMES
    assert next(iter(listed)) == presets.DEFAULT
    assert all(20 < len(text) < 120 for text in listed.values())


@pytest.mark.slow
def test_every_preset_passes_verls_own_validation(configs: dict[str, dict[str, Any]]) -> None:
    assert set(configs) == NAMES
    for name, config in configs.items():
        is_cpu = name in CPU_NAMES
        assert config["trainer"]["device"] == ("cpu" if is_cpu else "cuda")
        assert ("VERL_PLATFORM" in config["search_r1"]["env"]) == is_cpu
        assert Path(
            config["actor_rollout_ref"]["rollout"]["agent"]["agent_loop_config_path"]
        ).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo_3b_8gpu", "ppo_7b_8gpu"])
def test_search_r1s_hyperparameters_are_kept(configs: dict[str, dict[str, Any]], name: str) -> None:
    config = configs[name]
    actor, section = config["actor_rollout_ref"]["actor"], config["search_r1"]
    loop = section["loop"]
    assert actor["optim"]["lr"] == 1e-6
    assert actor["optim"]["lr_warmup_steps_ratio"] == 0.285
    assert (config["data"]["train_batch_size"], actor["ppo_mini_batch_size"]) == (512, 256)
    assert (loop["max_calls"], section["top_k"]) == (4, 3)
    assert (loop["max_turn_tokens"], loop["max_observation_tokens"]) == (500, 500)
    assert config["actor_rollout_ref"]["rollout"]["max_model_len"] == 4096
    assert config["actor_rollout_ref"]["rollout"]["temperature"] == 1.0
    assert actor["clip_ratio_low"] == 0.2


@pytest.mark.slow
def test_grpo_has_groups_of_five_and_kl_in_the_loss(configs: dict[str, dict[str, Any]]) -> None:
    config = configs["grpo_3b_8gpu"]
    assert config["actor_rollout_ref"]["rollout"]["n"] == 5
    actor = config["actor_rollout_ref"]["actor"]
    assert (actor["use_kl_loss"], actor["kl_loss_coef"]) == (True, 0.001)
    assert actor["clip_ratio_high"] == 0.28
    assert config["algorithm"]["rollout_correction"]["rollout_is_threshold"] == 2.0


@pytest.mark.slow
def test_ppo_has_a_critic_with_its_own_rate(configs: dict[str, dict[str, Any]]) -> None:
    config = configs["ppo_7b_8gpu"]
    assert config["algorithm"]["adv_estimator"] == "gae"
    assert config["critic"]["optim"]["lr"] == 1e-5
    assert config["critic"]["optim"]["lr_warmup_steps_ratio"] == 0.015
    assert config["critic"]["model"]["path"] == config["actor_rollout_ref"]["model"]["path"]


@pytest.mark.slow
def test_multinode_joins_a_cluster_and_hands_it_our_environment(
    configs: dict[str, dict[str, Any]],
) -> None:
    ray_init = configs["multinode"]["ray_kwargs"]["ray_init"]
    assert derive.is_remote_cluster(configs["multinode"])
    assert ray_init["runtime_env"]["env_vars"]["VERL_USE_EXTERNAL_MODULES"]
    assert configs["grpo_3b_8gpu"]["ray_kwargs"]["ray_init"]["address"] == "local"


@pytest.mark.slow
def test_composing_a_preset_imports_neither_torch_nor_verl() -> None:
    code = (
        "import sys; from search_r1.configs import presets; presets.compose('grpo_3b_8gpu');"
        "assert not {'torch', 'verl', 'vllm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'quikstart'; there are: quickstart, .*mean quickstart"):
        presets.compose("quikstart")


@pytest.mark.slow
def test_an_unknown_override_is_answered_with_the_keys_beside_it() -> None:
    with pytest.raises(UsageError) as caught:
        presets.compose("grpo_3b_8gpu", ["trainer.total_training_step=3"])
    message = str(caught.value)
    assert "Did you mean total_training_steps" in message
    assert "trainer has: balance_batch," in message
    assert "\n" not in message


@pytest.mark.parametrize("override", ["foo", "a.b=[1", "=3"])
def test_an_override_that_cannot_be_read_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match="cannot read the override"):
        presets.compose("grpo_3b_8gpu", [override])
