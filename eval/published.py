"""What others report on the same question sets, each with its protocol: for the eye, not a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("published.json")
_NOTE = (
    "EM in percent, as their sources give it; nothing here was run by this project. Other models, "
    "corpora, retrievers, prompts and decodings than above: a difference to a row of ours is no "
    "effect of anything in particular."
)


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One row of somebody's table."""

    name: str
    source: str
    """Where it stands."""
    protocol: str
    """Model, corpus, retriever, passages, decoding, sample, as far as they are told."""
    em: dict[str, float]
    """By benchmark, from 0 to 1."""


def read_published() -> list[PublishedResult]:
    """Read the rows that come with this package, in their order."""
    return [PublishedResult(**row) for row in json.loads(_FILE.read_text(encoding="utf-8"))]


def published_section(groups: Sequence[str]) -> str:
    """Write a Markdown section with what others report; empty when they report nothing on these.

    Args:
        groups: Data sources, as the columns above are ordered.
    """
    rows = read_published()
    columns = [group for group in groups if any(group in row.em for row in rows)]
    if not columns:
        return ""
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for number, row in enumerate(rows, start=1):
        cells = [f"{row.em[name]:.1%}" if name in row.em else "-" for name in columns]
        lines.append(f"| {number}. {row.name} | {' | '.join(cells)} |")
    told = [f"{number}. {row.protocol}. {row.source}" for number, row in enumerate(rows, start=1)]
    return "\n\n".join(["## What others report", _NOTE, "\n".join(lines), "\n".join(told)])
