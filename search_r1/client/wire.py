"""What goes over the wire to a retrieval server and back.

The shapes are Search-R1's ``POST /retrieve``. Nothing here does I/O.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import orjson

from contract import RETRY_AFTER_HEADER, TOKEN_VARIABLE, Request, ScoredRow
from search_r1.errors import RetrieverBadReply, RetrieverBadRequest
from search_r1.types import Passage

_RETRIED_STATUS = (502, 503, 504)


class AttemptFailedError(Exception):
    """One attempt failed in a way that another may not; never leaves the client.

    Attributes:
        pause_s: Seconds the server asks to be left alone by this search.
        shows: What it says of the server: ``down`` that it does not work, ``alive`` that it works
            and is busy, ``nothing`` when this search merely had little time left.
    """

    def __init__(
        self,
        problem: str,
        pause_s: float = 0.0,
        *,
        shows: Literal["down", "alive", "nothing"] = "down",
    ) -> None:
        """Say what went wrong."""
        super().__init__(problem)
        self.pause_s = pause_s
        self.shows = shows


def encode_request(queries: Sequence[str], top_k: int) -> bytes:
    """Give the body of a search.

    Raises:
        RetrieverBadRequest: If a query is not valid Unicode.
    """
    row: Request = {"queries": list(queries), "topk": top_k, "return_scores": True}
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError as error:
        raise RetrieverBadRequest(f"a query is not valid Unicode text ({error}).") from error


def read_reply(
    url: str, status: int, headers: Mapping[str, str], content: bytes, n_queries: int
) -> list[list[Passage]]:
    """Read the passages of every query from a reply of the server at ``url``.

    Raises:
        AttemptFailedError: If another attempt may succeed (status 502, 503, 504).
        RetrieverBadRequest: If the server refuses the request (other 4xx).
        RetrieverBadReply: If it failed otherwise, or the content is something else than passages.
    """
    if status == 200:
        return _read_passages(url, content, n_queries)
    if status in _RETRIED_STATUS:
        pause_s = read_retry_after_s(headers)
        # A server that says when to come back is busy, not broken.
        is_busy = status == 503 and pause_s > 0
        raise AttemptFailedError(
            f"status {status}: {excerpt(content)}", pause_s, shows="alive" if is_busy else "down"
        )
    if 400 <= status < 500:
        advice = "correct the request or the url"
        if status in (401, 403):
            advice = f"give the server's bearer token as token or in {TOKEN_VARIABLE}"
        raise RetrieverBadRequest(
            f"{url}/retrieve refused the request with status {status}: {excerpt(content)}; "
            f"{advice}."
        )
    raise RetrieverBadReply(
        f"{url}/retrieve answered with status {status}: {excerpt(content)}; see the server's log."
    )


def excerpt(content: bytes) -> str:
    """Show the start of a reply in an error message."""
    return repr(content[:200].decode(errors="replace"))


def read_retry_after_s(headers: Mapping[str, str]) -> float:
    """Read Retry-After in seconds; the date form is rare and answered by the usual pause."""
    value = headers.get(RETRY_AFTER_HEADER, "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def _read_passages(url: str, content: bytes, n_queries: int) -> list[list[Passage]]:
    try:
        rows = orjson.loads(content)["result"]
        if len(rows) != n_queries:
            raise ValueError(f"{len(rows)} results for {n_queries} queries")
        return [[_read_passage(row) for row in result] for result in rows]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RetrieverBadReply(
            f"{url}/retrieve answered something else than passages ({error!r}): "
            f"{excerpt(content)}; check that url names a retrieval server."
        ) from error


def _read_passage(row: ScoredRow) -> Passage:
    document = row["document"]
    if "text" in document:
        title, text = document.get("title") or "", document["text"]
    else:  # Search-R1's own server gives the title as the first line, in quotes
        first, newline, rest = document["contents"].partition("\n")
        title, text = (first.strip('"'), rest) if newline else ("", first)
    if not isinstance(title, str) or not isinstance(text, str):
        raise TypeError(f"title and text must be strings in {document!r}")
    return Passage(str(document["id"]), title, text, float(row["score"]))
