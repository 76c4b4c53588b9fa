"""What OpenAPI says of the server: shapes, examples, errors. The shapes are those of others."""

from typing import Any

from pydantic import BaseModel, Field

from contract import DEFAULT_TOP_K, TIMEOUT_HEADER
from retriever.serving.limits import Limits

_PASSAGE = {
    "id": "0",
    "title": "Dublin",
    "text": "Dublin is the capital of Ireland.",
    "contents": '"Dublin"\nDublin is the capital of Ireland.',
}
_ANSWERS = {
    "with scores": {"value": {"result": [[{"document": _PASSAGE, "score": 0.3028}]]}},
    "without scores": {"value": {"result": [[_PASSAGE]]}},
    "one query": {
        "value": {
            "query": "capital of Ireland",
            "num_results": 1,
            "results": [{"document": _PASSAGE, "score": 0.3028}],
        }
    },
}
_REQUESTS = {
    "with scores": {"value": {"queries": ["capital of Ireland"], "topk": 1, "return_scores": True}},
    "several queries": {"value": {"queries": ["capital of Ireland", "author of Dracula"]}},
    "one query": {"value": {"query": "capital of Ireland", "top_k": 1}},
}


class PassageRow(BaseModel):
    """A passage as the server gives it."""

    id: str
    title: str
    text: str
    contents: str = Field(description='Search-R1\'s form: "title" in quotes, new line, text.')
    url: str = Field(default="", description="Only if the corpus or the engine gives one.")


class ScoredRow(BaseModel):
    """A passage beside its score."""

    document: PassageRow
    score: float = Field(description="Similarity; higher is better, no unit.")


class RetrieveResponse(BaseModel):
    """Body of the answer: for every query, in order, its passages, best first."""

    result: list[list[ScoredRow]] | list[list[PassageRow]]


class SingleResponse(BaseModel):
    """Body of the answer to a request that named one ``query``."""

    query: str
    num_results: int
    results: list[ScoredRow]


class ErrorResponse(BaseModel):
    """Body of every answer that is not 200."""

    error: str = Field(description="What was wrong, and what to do.")


class HealthResponse(BaseModel):
    """Body of the answer of /health."""

    status: str = Field(examples=["ok"])


class ReadyResponse(BaseModel):
    """Body of the answer of /ready."""

    status: str = Field(examples=["ready"])
    kind: str = Field(description="Index kind.", examples=["flat"])
    passages: int | None = Field(description="Passages in the corpus; null: unknown.")


class CacheState(BaseModel):
    """The answers kept of earlier queries."""

    max_bytes: int = Field(description="0: nothing is kept.")
    bytes: int
    entries: int
    hits: int
    misses: int
    evictions: int


class InfoResponse(BaseModel):
    """Body of the answer of /info."""

    kind: str = Field(description="Index kind.", examples=["flat"])
    passages: int | None = Field(description="Passages in the corpus; null: unknown.")
    manifest: dict[str, Any] | None = Field(
        description="manifest.json of the index; null for one without a folder."
    )
    limits: dict[str, float] = Field(description="What a request may ask for, by name.")
    cache: CacheState


def error(description: str, example: str, **headers: str) -> dict[str, Any]:
    """Describe an error status by when it comes, its message, and its headers."""
    described: dict[str, Any] = {
        "model": ErrorResponse,
        "description": description,
        "content": {"application/json": {"example": {"error": example}}},
    }
    if headers:
        described["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return described


UNAUTHORIZED = error(
    "The server wants a token.",
    "no valid token; send the header Authorization: Bearer TOKEN.",
    WWW_Authenticate="Bearer",
)
NOT_READY = error(
    "Too many queries wait, or the server is stopping.",
    "16384 queries wait; ask again later.",
    Retry_After="Seconds to wait.",
)


def retrieve_responses(limits: Limits) -> dict[int | str, dict[str, Any]]:
    """Describe every status of POST /retrieve."""
    return {
        200: {
            "model": RetrieveResponse | SingleResponse,
            "description": "For every query, in order, its passages, best first.",
            "content": {"application/json": {"examples": _ANSWERS}},
        },
        400: error("The body is not JSON in UTF-8.", "the body is not JSON in UTF-8 (...)."),
        413: error(
            f"The body has more than {limits.max_body_bytes} bytes.",
            "the body has 10000000 bytes; send at most 4194304.",
        ),
        422: error(
            "The request is malformed or over a limit.",
            "topk is -1; expected an integer from 1 to 1000, or 0 or null for 3.",
        ),
        500: error("The search failed.", "the search failed with RuntimeError; see the log."),
        503: NOT_READY,
        504: error(
            "The answer was not there in time, or the body was not: then the connection is closed.",
            "no answer within 2 s; ask again, or allow more time.",
        ),
    }


def _describe_top_k(limits: Limits) -> dict[str, Any]:
    most = limits.max_top_k
    digits = f"^[0-9]{{1,{len(str(most)) - 1}}}$" if most >= 10 else f"^[0-{most}]$"
    given = {"type": "integer", "minimum": 0, "maximum": most}
    return {
        "anyOf": [given, {"type": "string", "pattern": digits}, {"type": "null"}],
        "description": f"Hits per query; {DEFAULT_TOP_K} if absent, null or 0. "
        f"Queries times topk must not exceed {limits.max_hits}.",
    }


def retrieve_request(limits: Limits) -> dict[str, Any]:
    """Describe body and header of POST /retrieve, limits included."""
    query = {"type": "string", "maxLength": limits.max_query_chars}
    properties = {
        "queries": {
            "type": "array",
            "items": query,
            "maxItems": limits.max_queries,
            "description": "Search strings; an empty list gives an empty result.",
        },
        "query": {**query, "description": "One search string; the answer has results."},
        "topk": _describe_top_k(limits),
        "top_k": {**_describe_top_k(limits), "description": "Another name of topk."},
        "k": {**_describe_top_k(limits), "description": "Another name of topk."},
        "return_scores": {
            "anyOf": [
                {"type": "boolean"},
                {"enum": [0, 1, "0", "1", "true", "false", "True", "False"]},
            ],
            "default": False,
            "description": "Put each passage beside its score; with query, it always is.",
        },
    }
    either = [{"required": ["queries"]}, {"required": ["query"]}]
    shape = {"type": "object", "properties": properties, "oneOf": either}
    body = {"application/json": {"schema": shape, "examples": _REQUESTS}}
    timeout = {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Seconds after which the answer is of no use: then it is not searched for, "
        f"and the status is 504. At most the server's own limit, {limits.timeout_s:g}, counts.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "example": 2.5,
    }
    return {"requestBody": {"required": True, "content": body}, "parameters": [timeout]}
