"""Measure indexes on a question file: ``python -m retriever.evaluate --index DIR --questions F``.

Gives recall against exact search, how often a gold answer stands in the hits, latency, queries/s
and memory, for every setting that the indexes can be opened with.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from retriever.environment import prepare_libraries
from retriever.errors import RetrievalError
from retriever.evaluate.plot import plot_frontier
from retriever.evaluate.quality import read_questions
from retriever.evaluate.report import Plan, evaluate, format_table
from retriever.evaluate.sweep import make_sweep
from retriever.interrupts import restore_interrupts


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the rows are written, 2 with one line on stderr when not."""
    parsed = _parse(arguments)
    prepare_libraries()
    restore_interrupts()
    knobs = {
        "nprobe": parsed.nprobe,
        "ef_search": parsed.ef_search,
        "refine_factor": parsed.refine_factor,
    }
    try:
        plan = Plan(
            read_questions(parsed.questions, parsed.limit),
            top_ks=tuple(parsed.topk),
            batch_sizes=tuple(parsed.batch),
            encoder=parsed.encoder,
            threads=parsed.threads,
        )
        settings = list(make_sweep(parsed.index, knobs))
        rows = evaluate(settings, plan, parsed.against, on_row=_say)
    except (RetrievalError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    shown = 3 if 3 in plan.top_ks else max(plan.top_ks)
    sys.stdout.write(format_table(rows, shown) + "\n")
    report = {
        "questions": {"file": parsed.questions.name, "count": len(plan.questions)},
        "exact": parsed.against.name if parsed.against else _first_flat(rows),
        "rows": rows,
    }
    if parsed.out:
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if parsed.plot:
        plot_frontier(rows, parsed.plot, shown)
    return 0


def _say(row: dict[str, Any]) -> None:
    sys.stderr.write(f"{row['index']} {row['settings'] or ''} measured\n")


def _first_flat(rows: list[dict[str, Any]]) -> str | None:
    return next((row["index"] for row in rows if row["kind"] == "flat"), None)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers such as 1,8,64") from None


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retriever.evaluate", description=__doc__)
    add = parser.add_argument
    add("--index", type=Path, required=True, action="append", help="index folder; may be repeated")
    add("--questions", type=Path, required=True, help="parquet file of questions and answers")
    add("--against", type=Path, help="index that is exact (default: the first flat one given)")
    add("--limit", type=int, help="use only the first so many questions")
    add("--topk", type=_numbers, default=[1, 3, 10], help="depths of recall (default: 1,3,10)")
    add("--nprobe", type=_numbers, help="values to try for ivf and ivfpq, such as 1,4,16")
    add("--ef-search", type=_numbers, help="values to try for hnsw")
    add("--refine-factor", type=_numbers, help="values to try for ivfpq")
    add("--batch", type=_numbers, default=[1, 64], help="batch sizes for speed (default: 1,64)")
    add("--encoder", type=Path, help="encoder folder, if it moved since the index was built")
    add("--threads", type=int, help="CPU threads for searching (default: every core)")
    add("--out", type=Path, help="JSON file to write")
    add("--plot", type=Path, help="image of the frontier to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
