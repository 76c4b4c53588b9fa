"""Answers as JSON, errors among them, and the body of a request within bounds."""

from collections.abc import Mapping

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from retriever.serving.wire import RefusedError


def reply(row: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give an answer with a JSON body."""
    return Response(orjson.dumps(row), status, headers, "application/json")


def reply_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Give the answer that every error has: one line under ``error``."""
    return reply({"error": message}, status, headers)


def read_header(scope: Scope, name: bytes) -> bytes | None:
    """Give the first value of a header, or None; the name is in lower case."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the body of a request, but not one that is too long.

    Raises:
        RefusedError: With 413 as soon as it is known to be too long.
        ClientDisconnect: If the client left before it was complete.
    """
    length = read_header(scope, b"content-length")
    if length is not None and int(length) > max_bytes:
        raise _too_long(f"{int(length)}", max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) <= max_bytes:
            return body
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > max_bytes:
            raise _too_long(f"more than {max_bytes}", max_bytes)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
    raise ClientDisconnect


def _too_long(length: str, max_bytes: int) -> RefusedError:
    message = f"the body has {length} bytes; send at most {max_bytes}, in several requests."
    return RefusedError(413, "too_large", message)
