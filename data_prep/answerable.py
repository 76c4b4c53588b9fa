"""Which questions an index can answer: a gold answer stands in a passage the question finds."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from data_prep.questions import Question
from data_prep.steps import Ticker
from retriever.evaluate.quality import has_answer
from retriever.types import Retriever

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
    ticker, console = Ticker(), Console(stderr=True)
    for start in track(
        starts, "  searching", console=console, transient=True, disable=not console.is_terminal
    ):
        if not console.is_terminal:
            ticker.tell(f"  searching, {start} of {len(questions)} questions")
        batch = questions[start : start + _BATCH]
        hit_lists = retriever.search([question.text for question in batch], top_k)
        kept += [
            question
            for question, hits in zip(batch, hit_lists, strict=True)
            if has_answer(question, hits)
        ]
    return kept
