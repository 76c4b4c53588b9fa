"""Stages around the reinforcement learning: cold start before it, evaluation and summary after it.

They are commands anybody can run; here they are put together from a run's config.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_r1.cold_start import DEMONSTRATIONS, MODEL, inputs_of, place_of, read_receipt
from search_r1.errors import LaunchError
from search_r1.evaluation import EvaluationConfig
from search_r1.launch.derive import Config
from search_r1.processes.environment import base_environment
from search_r1.runs import layout
from search_r1.runs.places import artifacts_dir

BASE, COLD_START, TRAINED = "base", "cold_start", "trained"
_GREEDY, _SAMPLED = "search:greedy", "search:sampled"
_FORCED = ("search_never:greedy", "search_always:greedy")


@dataclass(frozen=True, slots=True)
class Child:
    """A command of a stage."""

    name: str
    """What the user reads of it."""
    command: list[str]


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The cold start of a run: where it is kept, and what is still to do for it."""

    folder: Path
    receipt: dict[str, Any] | None
    """What it wrote down when it finished; None when it is still to be done."""

    @property
    def model(self) -> str:
        """Folder of the model it gives."""
        return str(self.folder / MODEL)


def find_cold_start(config: Config) -> ColdStart | None:
    """Tell which cold start a config asks for, and whether it is there; None when for none."""
    if not config["search_r1"].get("cold_start"):
        return None
    folder = place_of(config, artifacts_dir())
    receipt = read_receipt(folder)
    is_current = receipt is not None and receipt.get("inputs") == inputs_of(config)
    return ColdStart(folder, receipt if is_current else None)


def cold_start_children(config: Config, run_dir: Path, folder: Path) -> Iterator[Child]:
    """Give the commands that are left to do, in order: demonstrations, then training on them."""
    found = find_cold_start(config)
    if found is not None and found.receipt:
        return  # another run made it since it was looked for
    config_path = run_dir / layout.CONFIG
    if not (folder / DEMONSTRATIONS).is_file():
        options = ["--config", str(config_path), "--out", str(folder)]
        yield Child("demonstrations", [sys.executable, "-m", "data_prep.demonstrations", *options])
    trainer = config["trainer"]
    gpus = trainer["n_gpus_per_node"] if trainer["device"] != "cpu" else 1
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", "-m"]
    launcher = several if gpus > 1 else []
    module = ["search_r1.verl_plugin.cold_start", str(config_path), str(folder)]
    yield Child("cold start", [sys.executable, "-m", *launcher, *module])


def use_model(config: Config, model: str) -> None:
    """Have actor, rollout and critic begin from a cold start's model, in place.

    What is asked for then is no cold start of that model.
    """
    config["search_r1"]["cold_start"] = None
    base = config["actor_rollout_ref"]["model"]["path"]
    if config["critic"]["model"].get("path") == base:
        config["critic"]["model"]["path"] = model
    config["actor_rollout_ref"]["model"]["path"] = model


def evaluation_child(config: Config, run_dir: Path, base: str) -> Child:
    """Give the command that compares the models of a run on held-out questions.

    Writes ``eval/plan.json``, which says who answers how.

    Args:
        config: The run's config, which asks for an evaluation; its model is the one reinforcement
            learning began from.
        run_dir: Folder of the run.
        base: The model before the cold start.

    Raises:
        LaunchError: If the last checkpoint holds no model in Hugging Face's format.
    """
    section = config["search_r1"]["evaluation"]
    started_from = config["actor_rollout_ref"]["model"]["path"]
    plan = [_answerer(BASE, base, [_GREEDY], section.get("base_prompt"))]
    if started_from != base:
        plan.append(_answerer(COLD_START, started_from, [_GREEDY, _SAMPLED]))
    plan.append(_answerer(TRAINED, _trained_model(run_dir), [_GREEDY, *_FORCED]))
    out = run_dir / "eval"
    out.mkdir(exist_ok=True)
    path = out / "plan.json"
    _set_others_aside(plan, path)
    path.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    options = ["--config", str(run_dir / layout.CONFIG), "--plan", str(path), "--out", str(out)]
    options += ["--benchmarks", section["questions"]]
    options += ["--number", str(EvaluationConfig(**section).num_questions)]
    return Child("evaluation", [sys.executable, "-m", "eval.run", *options])


def _set_others_aside(plan: list[dict[str, Any]], path: Path) -> None:
    """Move answers away that an earlier plan had of another model: a run that went on has one."""
    try:
        earlier = {one["name"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return
    for one in plan:
        then = earlier.get(one["name"], one)
        if (then["model"], then["prompt"]) != (one["model"], one["prompt"]):
            for file in path.parent.glob(f"{one['name']}.*"):
                folder = path.parent.parent / "abandoned"
                target = folder / f"{file.stem}_{int(time.time())}{file.suffix}"
                target.parent.mkdir(exist_ok=True)
                file.rename(target)


def _answerer(
    name: str, model: str, methods: list[str], prompt: str | None = None
) -> dict[str, Any]:
    return {"name": name, "model": model, "prompt": prompt, "methods": methods}


def _trained_model(run_dir: Path) -> str:
    folder, has_weights = layout.last_model(run_dir)
    if not has_weights:
        raise LaunchError(
            f"search_r1.evaluation is set, but {folder} holds no weights; set "
            "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model] "
            "and trainer.save_freq, or search_r1.evaluation=null."
        )
    return str(folder)


def summarize(run_dir: Path, is_shown: bool) -> None:
    """Write a run's summary and plots in a child that may import what it needs.

    Args:
        run_dir: Folder of the run.
        is_shown: Whether its table is printed.

    Raises:
        LaunchError: If it fails; it has said why.
    """
    command = [sys.executable, "-m", "search_r1.summary", str(run_dir)]
    output = None if is_shown else subprocess.DEVNULL
    if subprocess.run(command, env=base_environment(), stdout=output, check=False).returncode:
        raise LaunchError(
            "training is done, but summing it up failed (the reason is above). Try again with: "
            f"python -m search_r1.summary {run_dir}"
        )
