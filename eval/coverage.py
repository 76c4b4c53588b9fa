"""What any policy could find: ``python -m eval.coverage --benchmarks nq --index DIR``.

For each set of questions the share of those with a gold answer in one of the first 1, 3, 10 and 100
passages that the question itself finds. A policy that asks better finds more, but a corpus without
the answer caps them all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import processor
from data_prep.answerable import search_all
from data_prep.steps import DataPrepError, run_command, say
from eval.benchmarks import fingerprint, golds_of, load_rows
from eval.measures import share
from retriever.errors import RetrievalError
from retriever.indexes.kinds import open_retriever
from retriever.storage.manifest import read_manifest
from retriever.types import Retriever
from search_r1.answers import find_gold_answers
from search_r1.rows import Row

DEPTHS = (1, 3, 10, 100)


def first_ranks(rows: Sequence[Row], retriever: Retriever) -> list[int | None]:
    """Give the rank, from 1, of the first passage with a gold answer; None when none has one.

    Args:
        rows: Questions in data_prep's shape.
        retriever: An open index.
    """
    ranks = []
    found = search_all([row["extra_info"]["question"] for row in rows], retriever, max(DEPTHS))
    for row, hits in zip(rows, found, strict=True):
        texts = (f"{hit.passage.title} {hit.passage.text}" for hit in hits)
        holding = (n for n, text in enumerate(texts, 1) if find_gold_answers(text, golds_of(row)))
        ranks.append(next(holding, None))
    return ranks


def coverage(rows: Sequence[Row], ranks: Sequence[int | None]) -> dict[str, dict[str, Any]]:
    """Give the share of each data source that is found within each depth, with its interval."""
    sources = dict.fromkeys(row["data_source"] for row in rows)
    of_source = {
        source: [r for row, r in zip(rows, ranks, strict=True) if row["data_source"] == source]
        for source in sources
    }
    return {
        source: {
            str(depth): asdict(share([float(r is not None and r <= depth) for r in found]))
            for depth in DEPTHS
        }
        for source, found in of_source.items()
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """Write a Markdown table."""
    lines = [
        "| questions | number | " + " | ".join(f"top {depth}" for depth in DEPTHS) + " |",
        "| --- | --- |" + " --- |" * len(DEPTHS),
    ]
    for source, shares in found.items():
        cells = (
            f"{one['value']:.1%} ({one['low']:.1%}-{one['high']:.1%})" for one in shares.values()
        )
        lines.append(f"| {source} | {shares['1']['number']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _origin(index: Path) -> dict[str, Any]:
    """Name the corpus and, where there is one, the encoder; its arithmetic is the processor's."""
    manifest = read_manifest(index)
    encoder = manifest.settings.get("encoder") or {}
    return {"corpus_sha256": manifest.corpus.sha256, "encoder": encoder.get("name")}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(prog="python -m eval.coverage", description=__doc__)
    add = parser.add_argument
    add("--benchmarks", required=True, metavar="NAME,...", help="as eval.run takes them")
    add("--number", type=int, help="questions to take from the start of each (default: all)")
    add("--index", type=Path, required=True, help="index folder of retriever.build")
    add("--out", type=Path, help="JSON file for the figures")
    parsed = parser.parse_args(arguments)

    def run() -> None:
        rows = load_rows(parsed.benchmarks.split(","), parsed.number)
        try:
            retriever = open_retriever(parsed.index)
        except RetrievalError as error:
            raise DataPrepError(f"--index {parsed.index}: {error}") from error
        try:
            found = coverage(rows, first_ranks(rows, retriever))
        finally:
            retriever.close()
        say(table(found))
        if parsed.out:
            command = f"python -m eval.coverage --benchmarks {parsed.benchmarks}"
            written = {
                "command": f"{command} --index {parsed.index}",
                "index": {"kind": retriever.kind, "passages": retriever.size}
                | _origin(parsed.index),
                "processor": processor.describe(),
                "questions_sha256": fingerprint(rows),
                "coverage": found,
            }
            parsed.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
