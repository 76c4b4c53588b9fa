"""Recall against exact search, and how often a gold answer stands in what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contract.answers import normalize_answer
from retriever.errors import RetrievalError
from retriever.types import Hit

MIN_CHARS = 3  # shortest normalised answer that counts as evidence


class QuestionLike(Protocol):
    """What is needed of a question, whoever read it."""

    @property
    def text(self) -> str:
        """The question, which is also the query."""
        ...

    @property
    def gold_answers(self) -> Sequence[str]:
        """The accepted answers."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A question, which is also the query, and its accepted answers."""

    text: str
    gold_answers: tuple[str, ...]


def read_questions(path: Path, limit: int | None = None) -> list[Question]:
    """Read the questions of a parquet file as ``data_prep`` writes it, in order.

    Args:
        path: Has the columns ``extra_info.question`` and ``reward_model.ground_truth.target``.
        limit: Read only so many.

    Raises:
        RetrievalError: If the file is missing or has no such columns.
    """
    import pyarrow.lib
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["extra_info", "reward_model"])
        return [
            Question(
                row["extra_info"]["question"], tuple(row["reward_model"]["ground_truth"]["target"])
            )
            for row in table.slice(0, limit).to_pylist()
        ]
    except (OSError, pyarrow.lib.ArrowException, KeyError, TypeError) as error:
        raise RetrievalError(
            f"{path} cannot be read as questions: {error!r}; expected a parquet file with "
            "extra_info.question and reward_model.ground_truth.target, as data_prep writes it."
        ) from error


def recall(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]], top_k: int) -> float:
    """Give the share of the exact best ``top_k`` passages that were found, a mean over queries.

    Args:
        found: For every query, passage ids, best first.
        exact: The same from exact search; a query for which it is empty is left out.
        top_k: How many of each count.
    """
    shares = [
        len(set(ids[:top_k]) & set(best[:top_k])) / len(best[:top_k])
        for ids, best in zip(found, exact, strict=True)
        if best
    ]
    return sum(shares) / len(shares) if shares else 1.0


def answer_recall(
    questions: Sequence[Question], hit_lists: Sequence[Sequence[Hit]], top_k: int
) -> float:
    """Give the share of questions with a gold answer in their first ``top_k`` hits."""
    answered = [
        has_answer(question, hits[:top_k])
        for question, hits in zip(questions, hit_lists, strict=True)
    ]
    return sum(answered) / len(answered) if answered else 0.0


def has_answer(question: QuestionLike, hits: Sequence[Hit]) -> bool:
    """True when a telling gold answer stands, as whole words, in a title or text of the hits.

    Not telling are answers of fewer than three characters, which turn up by accident, and answers
    that stand in the question, whose words find themselves.
    """
    asked = _padded(question.text)
    golds = [_padded(answer) for answer in question.gold_answers]
    telling = [gold for gold in golds if len(gold.strip()) >= MIN_CHARS and gold not in asked]
    # The bar keeps an answer from running over the end of the title; no answer contains one.
    texts = [f"{_padded(hit.passage.title)}|{_padded(hit.passage.text)}" for hit in hits]
    return any(gold in text for gold in telling for text in texts)


def _padded(text: str) -> str:
    return f" {normalize_answer(text)} "
