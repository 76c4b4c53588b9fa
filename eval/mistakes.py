"""What went wrong in the trajectories that scored nothing, by what can be seen in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from contract.answers import normalize_answer
from eval.measures import em, has_found, searches
from search_r1.metrics import Record
from search_r1.types import FinishReason, StopReason


class Mistake(StrEnum):
    """Kinds of mistakes; the first that fits counts."""

    LIMIT = "stopped by a limit"
    """Of searches or tokens, without an answer."""
    NO_ANSWER = "no answer"
    """Ended without one, no limit in its way."""
    MISREAD = "wrong though the answer stood in what it read"
    QUERY = "searched with a bad query"
    """One without a word of the question, or only the same one again."""
    NOT_FOUND = "searched and did not find the answer"
    UNSEARCHED = "wrong without searching"


_LIMITS = (StopReason.SEARCH_LIMIT, StopReason.RESPONSE_LENGTH)


def mistake_of(record: Record) -> Mistake | None:
    """Tell what went wrong in a trajectory; None when it is right."""
    if em(record) > 0:
        return None
    if record["prediction"] is None:
        return Mistake.LIMIT if _is_cut(record) else Mistake.NO_ANSWER
    if has_found(record):
        return Mistake.MISREAD
    if not searches(record):
        return Mistake.UNSEARCHED
    return Mistake.QUERY if _has_bad_queries(record) else Mistake.NOT_FOUND


def mistakes(records: Iterable[Record]) -> Iterator[tuple[Mistake, Record]]:
    """Yield every wrong trajectory with what went wrong."""
    for record in records:
        if kind := mistake_of(record):
            yield kind, record


def _is_cut(record: Record) -> bool:
    """Tell whether a limit ended it: of searches, of the whole response, or of its last turn."""
    last = record["turns"][-1]["stop_reason"] if record["turns"] else ""
    return record["stop_reason"] in _LIMITS or last == FinishReason.LENGTH


def _has_bad_queries(record: Record) -> bool:
    """Tell whether no query of it could have found more than nothing in particular."""
    queries = [
        normalize_answer(str(call["arguments"].get("query", "")))
        for turn in record["turns"]
        for call in turn["calls"]
        if call["is_search"]
    ]
    asked = set(normalize_answer(record["question"]).split())
    is_foreign = bool(queries) and not any(asked & set(query.split()) for query in queries)
    return is_foreign or len(queries) > len(set(queries)) == 1
