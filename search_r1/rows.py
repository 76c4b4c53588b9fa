"""Rows of question files as training and evaluation take them: checked, and filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet

from search_r1.answers import gold_answers_of

Row = dict[str, Any]

_NEEDED = {"data_source", "prompt", "reward_model"}


def question_of(row: Mapping[str, Any]) -> str | None:
    """Give a row's question: ``extra_info.question``, or the column that Search-R1's rows have."""
    return (row.get("extra_info") or {}).get("question") or row.get("question")


def read_rows(path: str | Path, needs_question: bool = True) -> Iterator[Row]:
    """Read a questions file, in its order.

    Args:
        path: A parquet file.
        needs_question: Whether a row must have its question apart from its prompt.

    Yields:
        Rows in whose ``extra_info`` ``question`` (None where there is none) and ``index`` (place in
        the file, from 0) are filled in where they were missing.

    Raises:
        ValueError: If it is no parquet file, a column is missing, a row's gold answers cannot be
            used, or its question is missing.
    """
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} is not a readable parquet file ({reason}).") from error
    names = set(file.schema_arrow.names)
    if missing := _NEEDED - names:
        raise ValueError(
            f"{path} has no column {', '.join(sorted(missing))} (it has {', '.join(sorted(names))})"
            "; make it with data_prep, or give it the columns of docs/data.md."
        )
    position = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            try:
                complete = _complete(row, needs_question)
            except ValueError as error:
                raise ValueError(f"{path}, row {position}: {error}") from error
            complete["extra_info"].setdefault("index", position)
            yield complete
            position += 1


def _complete(row: Row, needs_question: bool) -> Row:
    gold_answers_of(row)
    extra = {k: v for k, v in (row.get("extra_info") or {}).items() if v is not None}
    question = question_of(row)
    if needs_question and not question:
        raise ValueError(
            "there is no extra_info.question and no column question; make the file with data_prep."
        )
    return row | {"extra_info": {**extra, "question": question}}
