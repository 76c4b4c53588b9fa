"""TREC run files: what a trajectory read, as a ranking that retrieval tools score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.measures import Result
from search_r1.metrics import Record


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``NAME.run`` with a line ``QID Q0 DOCID RANK SCORE TAG`` for each passage read.

    The passages of one trajectory stand in the order it first read them, whichever search found
    them; the score is one over the rank, because scores of several searches have no common scale.
    """
    path = folder / f"{result.name}.run"
    with path.open("w", encoding="utf-8") as file:
        for record in result.records:
            for rank, passage_id in enumerate(passages_read(record), start=1):
                names = (_word(record["uid"]), "Q0", _word(passage_id))
                line = f"{' '.join(names)} {rank} {1 / rank:.6f} {_word(result.name)}"
                file.write(line + "\n")
    return [path]


def passages_read(record: Record) -> list[str]:
    """List the ids of the passages a trajectory read, each once, in order."""
    return list(dict.fromkeys(_read(record)))


def _read(record: Record) -> Iterator[str]:
    yield from record["metadata"].get("given", ())
    for turn in record["turns"]:
        yield from turn["passage_ids"]


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"
