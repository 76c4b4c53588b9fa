"""Ask a process that ends for a run's plan: composing it imports hydra and verl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from search_r1.errors import LaunchError, UsageError
from search_r1.launch.progress.screen import wait_shown
from search_r1.processes.environment import base_environment
from search_r1.runs.places import runs_dir


def request_plan(preset: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Have a preset composed and checked by a process that ends: ``search_r1.launch.plan``."""
    request = {"preset": preset, "overrides": list(overrides), "runs_dir": str(runs_dir())}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "search_r1.launch.plan"]
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=base_environment())
    written, errors = wait_shown(child, json.dumps(request).encode(), "composing")
    if child.returncode != 0:
        message = errors.decode(errors="replace").strip() or f"exit code {child.returncode}"
        raise LaunchError(f"the preset could not be composed:\n{message[-3000:]}")
    answer = json.loads(written)
    if "error" in answer:
        is_usage = answer["exit_code"] == UsageError.exit_code
        raise (UsageError if is_usage else LaunchError)(answer["error"])
    plan: dict[str, Any] = answer["plan"]
    return plan
