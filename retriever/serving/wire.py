"""The bytes of /retrieve, as they come in and go out. Every request passes here, so it is lean.

Clients speak one of two dialects, told apart by what the request names:

- ``queries``, a list: Search-R1's, and that of SkyRL and ASearcher. ``topk`` and ``return_scores``
  are read as its server's pydantic reads them: 0 is the default, "3" is 3, 1 is true.
- ``query``, one string: rLLM's. The answer has ``results``, always with scores.

The number of hits is ``topk``, ``top_k`` or ``k`` in both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from contract import DEFAULT_TOP_K, PassageRow
from retriever.serving.limits import Limits
from retriever.types import Hit, Passage

_TOP_K_NAMES = ("topk", "top_k", "k")  # the first that is not null or 0 counts
_BOOLEANS: dict[object, bool] = {  # as pydantic reads them
    **dict.fromkeys((1, "1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys((0, "0", "false", "f", "no", "n", "off"), False),
}
_MOST_DIGITS = 9

_SHOWN_CHARS = 80  # of a wrong value

_BEFORE_DOCUMENT, _BEFORE_SCORE = b'{"document":', b',"score":'


class RefusedError(Exception):
    """A request that gets an error instead of passages."""

    def __init__(self, status: int, kind: str, message: str, retry_after_s: int = 0) -> None:
        """Say why.

        Args:
            status: HTTP status.
            kind: One word for the metrics.
            message: What was wrong and what to do, for people.
            retry_after_s: Seconds after which it may go better; 0 says nothing.
        """
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A request that is within the limits."""

    queries: list[str]
    top_k: int
    is_scored: bool
    is_single: bool = False
    """The one query was named ``query``."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryHits:
    """The hits of one query, ready to be sent."""

    top_k: int
    """How many hits the index was asked for."""
    rows: tuple[bytes, ...]
    """Each hit as JSON with its score, best first."""

    def covers(self, top_k: int) -> bool:
        """Tell whether the best ``top_k`` hits are among these."""
        return top_k <= self.top_k or len(self.rows) < self.top_k


def read_request(body: bytes, limits: Limits) -> SearchRequest:
    """Understand the body of a request.

    Raises:
        RefusedError: With 400 if it is not JSON, with 422 if it is not what is expected.
    """
    try:
        row = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is not JSON in UTF-8 ({error}); see /docs for the shape."
        raise RefusedError(400, "not_json", message) from error
    if type(row) is not dict:
        raise _wrong("body", row, "expected an object")
    is_single = "query" in row
    queries = _read_queries(_name_queries(row) if is_single else row, limits)
    top_k, is_scored = _read_top_k(row, limits.max_top_k), row.get("return_scores", False)
    if type(is_scored) is not bool:
        is_scored = _read_boolean("return_scores", is_scored)
    if len(queries) * top_k > limits.max_hits:
        raise RefusedError(
            422,
            "invalid",
            f"{len(queries)} queries with topk {top_k} want {len(queries) * top_k} hits; ask for "
            f"at most {limits.max_hits} in one request.",
        )
    return SearchRequest(queries, top_k, is_scored, is_single)


def _read_top_k(row: dict[str, Any], most: int) -> int:
    top_k = 0
    for name in _TOP_K_NAMES:
        value = row.get(name)
        if value is not None:
            given = value if type(value) is int else _read_integer(value)
            if given is None or not 0 <= given <= most:
                expected = f"expected an integer from 1 to {most}, or 0 or null for {DEFAULT_TOP_K}"
                raise _wrong(name, value, expected)
            top_k = top_k or given
    return top_k or min(DEFAULT_TOP_K, most)


def _read_integer(value: object) -> int | None:
    if type(value) is float and value.is_integer():
        return int(value)  # to JSON, 3.0 is an integer
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    return None


def _read_boolean(name: str, value: object) -> bool:
    if type(value) in (int, float, str):
        found = _BOOLEANS.get(value.lower() if isinstance(value, str) else value)
        if found is not None:
            return found
    raise _wrong(name, value, "expected true or false")


def _name_queries(row: dict[str, Any]) -> dict[str, Any]:
    """Put a single query in the place of a list of one."""
    if "queries" in row:
        raise RefusedError(
            422, "invalid", "both query and queries are given; send one of them. See /docs."
        )
    if type(row["query"]) is not str:
        raise _wrong("query", row["query"], "expected a string")
    return {"queries": [row["query"]]}


def _read_queries(row: dict[str, Any], limits: Limits) -> list[str]:
    queries = row.get("queries")
    if type(queries) is not list:
        if "queries" not in row:
            raise RefusedError(
                422,
                "invalid",
                "queries is missing; expected a list of strings, or query, a string. See /docs.",
            )
        raise _wrong("queries", queries, "expected a list of strings")
    if len(queries) > limits.max_queries:
        message = f"{len(queries)} queries; send at most {limits.max_queries} in one request."
        raise RefusedError(422, "invalid", message)
    for place, query in enumerate(queries):
        if type(query) is not str:
            raise _wrong(f"queries[{place}]", query, "expected a string")
        if len(query) > limits.max_query_chars:
            raise RefusedError(
                422,
                "invalid",
                f"queries[{place}] has {len(query)} characters; "
                f"shorten it to at most {limits.max_query_chars}.",
            )
    return queries


def _wrong(place: str, value: object, expected: str) -> RefusedError:
    message = f"{place} is {_show(value)}; {expected}. See /docs for the shape."
    return RefusedError(422, "invalid", message)


def _show(value: object) -> str:
    """Write the beginning of a value as JSON, and only that: it may be long, and nested deeply."""
    if type(value) is str:
        value = value[:_SHOWN_CHARS]
    shown = ""
    for part in json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).iterencode(value):
        shown += part[: _SHOWN_CHARS + 1]
        if len(shown) > _SHOWN_CHARS:
            return shown[: _SHOWN_CHARS - 3] + "..."
    return shown


def passage_row(passage: Passage) -> PassageRow:
    """Return the JSON form of a passage; ``url`` only if it has one."""
    row: PassageRow = {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "contents": passage.contents,
    }
    if passage.url:
        row["url"] = passage.url
    return row


def write_rows(hits: Sequence[Hit]) -> tuple[bytes, ...]:
    """Write every hit of a query as JSON, with its score."""
    return tuple(
        b'{"document":%b,"score":%b}'
        % (orjson.dumps(passage_row(hit.passage)), orjson.dumps(hit.score))
        for hit in hits
    )


def write_answer(found: Sequence[QueryHits], top_k: int, is_scored: bool) -> bytes:
    """Write the body of the answer from what was found for each query."""
    if not found:
        return b'{"result":[]}'
    results = []
    for hits in found:
        rows = hits.rows[:top_k]
        results.append(b",".join(rows if is_scored else map(_without_score, rows)))
    return b'{"result":[[%b]]}' % b"],[".join(results)


def write_single_answer(query: str, found: QueryHits, top_k: int) -> bytes:
    """Write the body of the answer to a request that named one ``query``."""
    rows = found.rows[:top_k]
    return b'{"query":%b,"num_results":%d,"results":[%b]}' % (
        orjson.dumps(query),
        len(rows),
        b",".join(rows),
    )


def _without_score(row: bytes) -> bytes:
    return row[len(_BEFORE_DOCUMENT) : row.rindex(_BEFORE_SCORE)]
