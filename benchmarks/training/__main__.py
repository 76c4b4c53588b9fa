"""Measure, print ratios, write them as JSON: ``python -m benchmarks.training [--out FILE]``.

Each part runs in a process of its own, one after the other, and replaces what the file had of it.
Absolute speeds vary with the machine and with what else runs on it; the ratios compare two
measurements of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import processor
from search_r1.launch.environment import base_environment, format_cores
from search_r1.launch.places import artifacts_dir

_PARTS = {  # name: the module that measures it and ends with a JSON line
    "training": "benchmarks.training.update",
    "rollout": "benchmarks.training.rollout",
    "loop": "benchmarks.training.overhead",
}
_OUT = "docs/benchmarks/training.json"


def main() -> None:
    """Run the parts asked for and write their results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(_PARTS), help=f"of: {', '.join(_PARTS)}")
    parser.add_argument("--out", type=Path, default=Path(_OUT))
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - _PARTS.keys():
        parser.error(f"unknown part {sorted(unknown)[0]!r}; there are: {', '.join(_PARTS)}")
    if not (artifacts_dir() / "indexes" / "quickstart").is_dir():
        sys.exit("error: the quickstart's files are missing; run python -m data_prep.quickstart.")
    results = {part: _run(part) for part in arguments.parts}
    report = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    kind = processor.fast_dtype()  # machines that compute in other types are other machines
    report[kind] = report.get(kind, {}) | {
        part: result | _origin(part) for part, result in results.items()
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for part, result in results.items():
        print(f"{part}: {result['what']}")
        for name, value in result.items():
            if isinstance(value, int | float):
                print(f"  {name:<36} {value:>10.2f}")
    print(f"written to {arguments.out}")


def _origin(part: str) -> dict[str, object]:
    return {
        "command": f"python -m benchmarks.training {part}",
        "date": date.today().isoformat(),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "arch": platform.machine(),
            "processor": processor.describe(),
        },
    }


def _run(part: str) -> dict[str, object]:
    """Run one part in a child and read the JSON line it ends with."""
    print(f"measuring {part} ...", flush=True)
    environment = base_environment() | {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "search_r1.verl_plugin",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_OMP_THREADS_BIND": format_cores(os.sched_getaffinity(0)),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }
    child = subprocess.run(
        [sys.executable, "-m", _PARTS[part]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode != 0:
        sys.exit(f"error: measuring {part} failed:\n{child.stderr[-3000:]}")
    result: dict[str, object] = json.loads(child.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
