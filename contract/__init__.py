"""What the retrieval server and its clients agree on: names and shapes of ``POST /retrieve``, once.

The two know nothing of each other, so what both must spell alike stands here. It imports nothing
but the standard library, and shapes are types only: no request pays for them.
"""

from typing import NotRequired, TypedDict

PATH = "/retrieve"
TIMEOUT_HEADER = "X-Request-Timeout-S"
"""Seconds the client will wait; the server may drop the rest."""
RETRY_AFTER_HEADER = "Retry-After"
"""Whole seconds a busy server (status 503) asks to be left alone."""
TOKEN_VARIABLE = "RETRIEVER_TOKEN"
"""Environment variable of the bearer token, at both ends."""
DEFAULT_TOP_K = 3
"""Hits per query of a request that names no number."""


class Request(TypedDict):
    """Body of a request."""

    queries: list[str]
    topk: NotRequired[int]
    return_scores: NotRequired[bool]


class PassageRow(TypedDict):
    """A passage; ``url`` only if the corpus or the engine gives one."""

    id: str
    title: str
    text: str
    contents: str
    url: NotRequired[str]


class ScoredRow(TypedDict):
    """A passage beside its score."""

    document: PassageRow
    score: float


class Reply(TypedDict):
    """Body of the answer: for every query, in order, its passages, best first."""

    result: list[list[ScoredRow]] | list[list[PassageRow]]
