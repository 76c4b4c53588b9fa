"""Runs one measurement in a process of its own, and says on what machine it was made."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import date

import processor
from search_r1.processes.environment import base_environment, format_cores
from search_r1.runs.places import artifacts_dir


def require_quickstart() -> None:
    """End the process in a line when the quickstart's files, which are measured on, are missing."""
    if not (artifacts_dir() / "indexes" / "quickstart").is_dir():
        sys.exit("error: the quickstart's files are missing; run python -m data_prep.quickstart.")


def origin(command: str) -> dict[str, object]:
    """Give what a figure must have beside it: command, day, machine."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "arch": platform.machine(),
            "processor": processor.describe(),
        },
    }


def run_part(name: str, module: str) -> dict[str, object]:
    """Run a module in a child and read the JSON line it ends with; ends the process if it fails."""
    print(f"measuring {name} ...", flush=True)
    environment = base_environment() | {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "search_r1.verl_plugin",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_OMP_THREADS_BIND": format_cores(os.sched_getaffinity(0)),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }
    child = subprocess.run(
        [sys.executable, "-m", module],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode != 0:
        sys.exit(f"error: measuring {name} failed:\n{child.stderr[-3000:]}")
    result: dict[str, object] = json.loads(child.stdout.splitlines()[-1])
    return result


def tell(name: str, result: dict[str, object]) -> None:
    """Print a result's numbers, a line each."""
    print(f"{name}: {result['what']}")
    for key, value in result.items():
        if isinstance(value, int | float):
            print(f"  {key:<36} {value:>10.2f}")
