"""What is expected of a run's time: asked of the probe once, told, and looked up by each stage."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_r1.launch.progress.estimate import LIMIT_S, TRAINING
from search_r1.launch.progress.forecast import StageForecast, TrainingForecast, evaluated_steps
from search_r1.launch.progress.screen import say
from search_r1.launch.progress.watch import watch
from search_r1.processes.service import Service

ESTIMATE = "estimate.json"  # what the probe leaves for the launcher
_PATIENCE_S = 25.0  # the probe takes 20 seconds at most where nothing else computes


def probe_command(config_path: Path, resumed_step: int) -> list[str]:
    """Give the command that measures this machine for a run."""
    return [
        sys.executable,
        "-m",
        "search_r1.launch.progress.probe",
        str(config_path),
        str(resumed_step),
    ]


class Outlook:
    """What the probe expects of every part of a run; nothing where nobody asked it.

    Args:
        estimate: What the probe left.
    """

    def __init__(self, estimate: Mapping[str, Any] | None = None) -> None:
        self.estimate = dict(estimate) if estimate else None
        self._parts_s: dict[str, float] = self.estimate["parts_s"] if self.estimate else {}

    def stage(self, name: str) -> StageForecast:
        """Give what is left while a stage runs."""
        return StageForecast(self._parts_s.get(name), self._after_s(name))

    def training(self, config: Mapping[str, Any], resumed_step: int) -> TrainingForecast:
        """Give what is left while reinforcement learning runs.

        Args:
            config: The run's resolved config.
            resumed_step: Step it goes on from; 0 for a new run.
        """
        trainer, known = config["trainer"], self.estimate or {}
        return TrainingForecast(
            trainer["total_training_steps"],
            evaluated_steps(trainer, resumed_step),
            resumed_step,
            start_s=known.get("start_s"),
            step_s=known.get("step_s"),
            evaluation_s=known.get("evaluation_s"),
            after_s=self._after_s(TRAINING) if known else 0.0,
        )

    def _after_s(self, name: str) -> float | None:
        names = list(self._parts_s)
        if name not in names:
            return None
        return sum(self._parts_s[after] for after in names[names.index(name) + 1 :])


def ask(probe: Service, run_dir: Path) -> Outlook:
    """Wait for the probe and say what it found; a run goes on without one that fails.

    Args:
        probe: The probe, just started.
        run_dir: Folder of the run, where it leaves its estimate.
    """
    deadline = time.monotonic() + _PATIENCE_S

    def look() -> None:
        if time.monotonic() > deadline:
            probe.stop(grace_s=0.0)

    code = watch(probe, run_dir, "measuring this machine", StageForecast(after_s=None), look)
    if code != 0:
        say(
            f"  How long the run takes could not be measured within {_PATIENCE_S:.0f} s "
            f"({probe.log}); it is said once the first steps are done."
        )
        return Outlook()
    path = run_dir / ESTIMATE
    estimate = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    say(f"  {estimate.pop('line')}")
    if advice := estimate.pop("advice"):
        say(f"  That is more than {LIMIT_S / 60:.0f} minutes. {advice}")
    return Outlook(estimate)
