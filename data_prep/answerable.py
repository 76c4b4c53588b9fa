"""Which questions an index can answer: a gold answer stands in a passage the question finds."""

from collections.abc import Sequence
from functools import lru_cache

from rich.console import Console
from rich.progress import track

from data_prep.questions import Question
from retriever.types import Hit, Retriever
from search_r1.answers import normalize_answer

MIN_CHARS = 3  # shortest normalised answer that counts as evidence
_BATCH = 256


def answerable_questions(
    questions: Sequence[Question], retriever: Retriever, top_k: int
) -> list[Question]:
    """Keep the questions that have evidence in the hits of the question itself as query.

    This favours the retriever that does the filtering, so a score on these questions must be
    given beside one on unfiltered questions.

    Args:
        questions: Checked in order; the order is kept.
        retriever: An open index.
        top_k: Hits looked at for each question.
    """
    starts = range(0, len(questions), _BATCH)
    kept: list[Question] = []
    for start in track(starts, "  searching", console=Console(stderr=True), transient=True):
        batch = questions[start : start + _BATCH]
        hit_lists = retriever.search([question.text for question in batch], top_k)
        kept += [
            question
            for question, hits in zip(batch, hit_lists, strict=True)
            if has_evidence(question, hits)
        ]
    return kept


def has_evidence(question: Question, hits: Sequence[Hit]) -> bool:
    """True when a telling gold answer stands, as whole words, in a title or text of the hits.

    Not telling are answers of fewer than three characters, which turn up by accident, and
    answers that stand in the question, whose words find themselves.
    """
    asked = _padded(question.text)
    golds = [_padded(answer) for answer in question.gold_answers]
    telling = [gold for gold in golds if len(gold.strip()) >= MIN_CHARS and gold not in asked]
    texts = [_passage_text(hit.passage.title, hit.passage.text) for hit in hits]
    return any(gold in text for gold in telling for text in texts)


def _padded(text: str) -> str:
    return f" {normalize_answer(text)} "


@lru_cache(maxsize=50_000)
def _passage_text(title: str, text: str) -> str:
    # The bar keeps an answer from running over the end of the title; no answer contains one.
    return f"{_padded(title)}|{_padded(text)}"
