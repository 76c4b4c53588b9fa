"""Measure, print ratios, write them as JSON: ``python -m benchmarks.training [--out FILE]``.

Each part runs in a process of its own, one after the other, and replaces what the file had of it.
Absolute speeds vary with the machine and with what else runs on it; the ratios compare two
measurements of one process.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import processor
from benchmarks.training.parts import origin, require_quickstart, run_part, tell

_PARTS = {  # name: the module that measures it and ends with a JSON line
    "training": "benchmarks.training.update",
    "rollout": "benchmarks.training.rollout",
    "loop": "benchmarks.training.overhead",
    "step": "benchmarks.training.step",
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
    require_quickstart()
    results = {part: run_part(part, _PARTS[part]) for part in arguments.parts}
    report = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    kind = processor.fast_dtype()  # machines that compute in other types are other machines
    report[kind] = report.get(kind, {}) | {
        part: result | origin(f"python -m benchmarks.training {part}")
        for part, result in results.items()
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for part, result in results.items():
        tell(part, result)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
