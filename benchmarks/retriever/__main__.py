"""Measure the server, print tables, write JSON: ``python -m benchmarks.retriever [PARTS]``.

Figures of one part come from one run, alternating between what is compared, so their ratios mean
something on any machine. Parts that are not asked for keep their figures in the JSON file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import sys
import time
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from benchmarks.retriever.materials import BenchError, Materials, say
from benchmarks.retriever.servers import ServerDiedError
from benchmarks.retriever.tables import make_tables
from retriever.environment import prepare_libraries
from retriever.interrupts import restore_interrupts

# In this order; each module has run(materials) -> JSON object.
PARTS = {
    "limits": "benchmarks.retriever.limits",
    "encoders": "benchmarks.retriever.encoders",
    "versus": "benchmarks.retriever.versus",
    "coverage": "benchmarks.retriever.coverage",
    "faults": "benchmarks.retriever.faults",
    "million": "benchmarks.retriever.million",
    "soak": "benchmarks.retriever.soak",
    "building": "benchmarks.retriever.building",
    "frontier": "benchmarks.retriever.frontier",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for; 0 when their figures are written, 2 with one line when not."""
    parsed = _parse(arguments)
    # Of what is measured here; Search-R1's server runs as its users start it.
    prepare_libraries()
    restore_interrupts()
    signal.signal(signal.SIGTERM, _stop)  # the servers under measurement end with the bench
    materials = Materials(parsed.artifacts, parsed.work or parsed.artifacts / "bench", parsed.peer)
    try:
        materials.check()
        for part in parsed.parts:
            say(f"measuring {part}")
            result = measure(part, materials)
            write_part(parsed.out, part, result)
            sys.stdout.write(f"{make_tables({part: result})[part]}\n\n")
            sys.stdout.flush()
    except (BenchError, ServerDiedError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    say(f"written to {parsed.out}")
    return 0


def measure(part: str, materials: Materials) -> dict[str, Any]:
    """Run one part; gives its figures, and when and how they were taken."""
    load = os.getloadavg()[0]
    started = time.monotonic()
    figures: dict[str, Any] = importlib.import_module(PARTS[part]).run(materials)
    peer = " --peer CHECKOUT" if materials.peer else ""
    return {
        "command": f"python -m benchmarks.retriever {part}{peer}",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "load_before": load,
        "took_s": round(time.monotonic() - started, 1),
        **figures,
    }


def describe_machine() -> dict[str, object]:
    """Say on what the figures were taken."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "arch": platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "cpu": _cpu_name(),
    }


def write_part(file: Path, part: str, result: dict[str, Any]) -> None:
    """Put one part's figures into the file and leave the others as they are."""
    report: dict[str, Any] = {}
    if file.is_file():
        report = json.loads(file.read_text(encoding="utf-8"))
    report[part] = result
    ordered = {name: report[name] for name in PARTS if name in report}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _cpu_name() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    found = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    has_bf16 = "avx512_bf16" in found.get("flags", "")
    return found.get("model name", platform.processor()) + (", AVX512-BF16" if has_bf16 else "")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retriever", description=__doc__)
    add = parser.add_argument
    add("parts", nargs="*", help=f"of: {', '.join(PARTS)} (default: all)")
    add("--peer", type=Path, help="a checkout of Search-R1, whose server is measured beside ours")
    add("--out", type=Path, default=Path("docs/benchmarks/retriever.json"))
    add("--artifacts", type=Path, default=Path("artifacts"), help="the quickstart's folder")
    add("--work", type=Path, help="folder for corpora and indexes (default: artifacts/bench)")
    parsed = parser.parse_args(arguments)
    parsed.parts = parsed.parts or list(PARTS)
    if unknown := set(parsed.parts) - PARTS.keys():
        parser.error(f"unknown part {min(unknown)!r}; there are: {', '.join(PARTS)}")
    return parsed


if __name__ == "__main__":
    sys.exit(main())
