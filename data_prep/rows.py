"""The one row shape of every questions file, and reading and writing it as parquet."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.questions import Question
from data_prep.steps import DataPrepError
from search_r1 import rows as question_rows
from search_r1.answers import gold_answers_of
from search_r1.prompts import build_prompt, prompt_names
from search_r1.rows import Row as Row  # for those who read rows

AGENT_NAME = "search_agent"
ABILITY = "fact-retrieval"

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        (
            "reward_model",
            pa.struct(
                [
                    ("style", pa.string()),
                    ("ground_truth", pa.struct([("target", pa.list_(pa.string()))])),
                ]
            ),
        ),
        (
            "extra_info",
            pa.struct(
                [
                    ("split", pa.string()),
                    ("index", pa.int64()),
                    ("question", pa.string()),
                    ("prompt_name", pa.string()),
                    ("knowledge", pa.string()),
                    ("queries", pa.list_(pa.string())),
                ]
            ),
        ),
        ("agent_name", pa.string()),
    ]
)


def check_prompt(name: str) -> None:
    """Reject an unknown prompt before any work is done."""
    if name not in prompt_names():
        raise DataPrepError(f"unknown prompt {name!r}; choose one of: {', '.join(prompt_names())}.")


def make_row(question: Question, data_source: str, split: str, index: int, prompt_name: str) -> Row:
    """Make one row; ``index`` is its place in the file, from 0.

    Raises:
        ValueError: If the question is empty, has no gold answer that can be matched, or the prompt
            is unknown.
    """
    row: Row = {
        "data_source": data_source,
        "prompt": build_prompt(prompt_name, question.text),
        "ability": ABILITY,
        "reward_model": {
            "style": "rule",
            "ground_truth": {"target": question.gold_answers},
        },
        "extra_info": {
            "split": split,
            "index": index,
            "question": question.text,
            "prompt_name": prompt_name,
            "knowledge": question.knowledge,
            "queries": list(question.queries),
        },
        "agent_name": AGENT_NAME,
    }
    try:
        row["reward_model"]["ground_truth"]["target"] = gold_answers_of(row)
    except ValueError as error:
        raise ValueError(f"question {question.id!r}: {error}") from error
    return row


def make_rows(items: Sequence[tuple[str, Question]], split: str, prompt_name: str) -> list[Row]:
    """Make the rows of one file from (data source, question) pairs, in their order."""
    return [
        make_row(question, data_source, split, index, prompt_name)
        for index, (data_source, question) in enumerate(items)
    ]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write a parquet file with exactly ``SCHEMA``, whatever the rows hold."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path)


def read_rows(path: Path) -> list[Row]:
    """Read a questions file.

    Raises:
        DataPrepError: If it is no questions file, or a row lacks what every row must have.
    """
    try:
        return list(question_rows.read_rows(path))
    except (OSError, ValueError) as error:
        raise DataPrepError(f"{path} is not a questions file: {error}") from error
