"""Run folders: ``runs/PRESET/TIMESTAMP``, which one is unfinished, and who is using it."""

from __future__ import annotations

import fcntl
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_r1.errors import LaunchError
from search_r1.runs.progress import RUN_DIR_VARIABLE

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
NOTES = "launch.json"  # what the launcher knows of a run: command, overrides, stages, memory
SUMMARY = "summary.json"
TRAINING, EVALUATION = "training", "evaluation"
"""What the notes call unfinished; nothing once a run is over."""
_LOCK = ".lock"
_CHECKPOINT = "checkpoints/latest_checkpointed_iteration.txt"


def logger_variables(run_dir: Path) -> dict[str, str]:
    """Give the variables by which verl's loggers, and workers that report, find a run's folder."""
    return {
        RUN_DIR_VARIABLE: str(run_dir),
        "VERL_FILE_LOGGER_PATH": str(run_dir / METRICS),
        "TENSORBOARD_DIR": str(run_dir / "tensorboard"),
    }


def new_run_dir(runs: Path, preset: str) -> Path:
    """Name a folder for a new run; it is not created."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    folder = runs / preset / stamp
    number = 1
    while folder.exists():
        number += 1
        folder = runs / preset / f"{stamp}_{number}"
    return folder


def last_checkpoint(run_dir: Path) -> int | None:
    """Give the step of the last whole checkpoint, or None."""
    try:
        return int((run_dir / _CHECKPOINT).read_text())
    except (OSError, ValueError):
        return None


def last_model(run_dir: Path) -> tuple[Path, bool]:
    """Give the folder for the model of the newest checkpoint, and whether it holds weights."""
    folder = run_dir / "checkpoints" / f"global_step_{last_checkpoint(run_dir)}"
    folder = folder / "actor" / "huggingface"
    return folder, any(folder.glob("*.safetensors"))


def finished_runs(folder: Path) -> list[Path]:
    """Give the summed-up runs in a preset's folder, the newest first."""
    return sorted((path.parent for path in folder.glob(f"*/{SUMMARY}")), reverse=True)


def find_unfinished(runs: Path, preset: str) -> Path | None:
    """Give the newest run of a preset with a checkpoint, not over, and nobody working on it."""
    for folder in sorted((runs / preset).glob("*/"), reverse=True):
        is_over = (folder / SUMMARY).exists() and not read_notes(folder).get("unfinished")
        if not is_over and last_checkpoint(folder) is not None and not is_locked(folder):
            return folder
    return None


def is_locked(run_dir: Path) -> bool:
    """Tell whether a launcher is working in this folder now."""
    try:
        with (run_dir / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def occupy(run_dir: Path) -> Iterator[None]:
    """Hold a run's folder for this process; the kernel lets go of it however the process ends."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LaunchError(
                f"another launcher is working in {run_dir}; wait for it or stop it first."
            ) from error
        yield


def parse_metrics(line: bytes | str) -> dict[str, Any]:
    """Read a line of a run's metrics; what verl's logger had no number for, null there, is NaN.

    Raises:
        ValueError: If the line is torn.
    """
    return {name: math.nan if value is None else value for name, value in json.loads(line).items()}


def read_notes(run_dir: Path) -> dict[str, Any]:
    """Read the launcher's notes of a run; empty when there are none."""
    try:
        notes = json.loads((run_dir / NOTES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def write_notes(run_dir: Path, part: dict[str, Any], unfinished: str | None, **notes: Any) -> None:
    """Write the launcher's notes of a run.

    Args:
        run_dir: Folder of the run.
        part: What the launcher that writes did; those of earlier ones are kept before it.
        unfinished: ``TRAINING`` or ``EVALUATION``; None once the run is over.
        notes: Whatever else it knows; of a None what was noted earlier stays.
    """
    earlier = read_notes(run_dir)
    parts = [one for one in earlier.get("parts", []) if one["run_id"] != part["run_id"]]
    kept = {name: earlier.get(name) if value is None else value for name, value in notes.items()}
    write_json(run_dir / NOTES, kept | {"unfinished": unfinished, "parts": [*parts, part]})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def set_abandoned_aside(run_dir: Path, step: int, is_evaluated: bool = True) -> None:
    """Move what is of steps after a checkpoint away: a resumed run does these steps again.

    With the metrics goes what a kill left of a line: the next one would be written behind it.

    Args:
        run_dir: Folder of the run.
        step: The checkpoint's.
        is_evaluated: Whether the evaluation after that step is kept; else it is done again too.
    """
    for kind, last in (("trajectories", step), ("eval", step if is_evaluated else step - 1)):
        for path in (run_dir / kind).glob("step_*.jsonl"):
            if int(path.stem.removeprefix("step_")) > last:
                path.rename(_abandoned(run_dir, f"{kind}_{path.stem}"))
    _set_metrics_aside(run_dir, step)


def _set_metrics_aside(run_dir: Path, step: int) -> None:
    path = run_dir / METRICS
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if 0 <= _step_of(line) <= step]
    if len(kept) < len(lines):
        path.rename(_abandoned(run_dir, "metrics"))
        path.write_bytes(b"".join(kept))


def _step_of(line: bytes) -> int:
    """Give the step of a line of metrics, -1 of a torn one."""
    try:
        return int(json.loads(line)["step"]) if line.endswith(b"\n") else -1
    except (ValueError, KeyError, TypeError):
        return -1


def _abandoned(run_dir: Path, name: str) -> Path:
    target = run_dir / "abandoned" / f"{name}_{int(time.time())}.jsonl"
    target.parent.mkdir(exist_ok=True)
    return target
