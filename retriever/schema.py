"""Request and response JSON of the server; the shapes are Search-R1's."""

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from retriever.types import Hit, Passage

DEFAULT_TOP_K = 3

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server accepts."""

    max_queries: int = 1024
    """Queries in one request."""
    max_query_chars: int = 8192
    """Characters in one query."""
    max_top_k: int = 1000
    """Hits per query."""
    max_waiting: int = 1024
    """Requests waiting for the index; one more is answered 503."""
    max_batch: int = 256
    """Queries searched together, when requests are waiting. One request is never divided."""

    def __post_init__(self) -> None:
        """Check that every limit lets something through."""
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")


class RetrieveRequest(BaseModel):
    """Body of POST /retrieve."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"queries": ["capital of France"], "topk": 3, "return_scores": True}]
        }
    )

    queries: list[str] = Field(description="Search strings; an empty list gives an empty result.")
    topk: int | None = Field(
        default=None, ge=1, strict=True, description=f"Hits per query; {DEFAULT_TOP_K} if absent."
    )
    return_scores: bool = Field(default=False, description="Put each passage beside its score.")


class PassageRow(BaseModel):
    """A passage as the server gives it."""

    id: str
    title: str
    text: str
    contents: str = Field(description='Search-R1\'s form: "title" in quotes, new line, text.')


class ScoredRow(BaseModel):
    """A passage beside its score."""

    document: PassageRow
    score: float


class RetrieveResponse(BaseModel):
    """Body of the answer: for every query, in order, its passages, best first."""

    result: list[list[ScoredRow]] | list[list[PassageRow]]


class ErrorResponse(BaseModel):
    """Body of every answer that is not 200."""

    error: str = Field(description="What was wrong, and what to do.")


def passage_row(passage: Passage) -> dict[str, str]:
    """Return the JSON form of a passage."""
    return {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "contents": passage.contents,
    }


def result_row(hits: list[Hit], is_scored: bool) -> list[dict[str, object]]:
    """Return the JSON form of one query's hits."""
    if is_scored:
        return [{"document": passage_row(hit.passage), "score": hit.score} for hit in hits]
    return [dict(passage_row(hit.passage)) for hit in hits]


def find_violation(request: RetrieveRequest, limits: Limits) -> str | None:
    """Say which limit a request exceeds, or None."""
    if len(request.queries) > limits.max_queries:
        return f"{len(request.queries)} queries; send at most {limits.max_queries} in one request."
    if request.topk is not None and request.topk > limits.max_top_k:
        return f"topk is {request.topk}; ask for at most {limits.max_top_k}."
    for place, query in enumerate(request.queries):
        if len(query) > limits.max_query_chars:
            return (
                f"queries[{place}] has {len(query)} characters; "
                f"shorten it to at most {limits.max_query_chars}."
            )
        if not query.isascii() and _SURROGATE.search(query):
            return f"queries[{place}] has half of a surrogate pair; send valid Unicode."
    return None
