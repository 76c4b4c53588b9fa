"""Which questions an index can answer: a gold answer stands in a passage the question finds."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import track

from data_prep.questions import Question
from data_prep.steps import Ticker
from retriever.evaluate.quality import has_answer
from retriever.types import Hit, Retriever

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
    found = search_all([question.text for question in questions], retriever, top_k)
    return [q for q, hits in zip(questions, found, strict=True) if has_answer(q, hits)]


def search_all(texts: Sequence[str], retriever: Retriever, top_k: int) -> Iterator[list[Hit]]:
    """Yield the hits of each query in turn, and tell how far it is.

    Args:
        texts: Queries; asked in batches.
        retriever: An open index.
        top_k: Hits for each.
    """
    starts = range(0, len(texts), _BATCH)
    ticker, console = Ticker(), Console(stderr=True)
    for start in track(
        starts, "  searching", console=console, transient=True, disable=not console.is_terminal
    ):
        if not console.is_terminal:
            ticker.tell(f"  searching, {start} of {len(texts)} questions")
        yield from retriever.search(list(texts[start : start + _BATCH]), top_k)
