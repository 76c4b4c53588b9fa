"""HTTP APIs as tools, described in YAML: a request with places for arguments, a reply to read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import orjson

from search_r1.client.wire import read_retry_after_s
from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.http.request import HttpRequest, RequestTemplate
from search_r1.tools.schema import make_schema
from search_r1.tools.templates import find_path, to_text

_RETRIED_STATUS = (429, 502, 503, 504)
_CONNECT_TIMEOUT_S = 10.0
_BACKOFF_S = 0.2  # longest pause before the second attempt; doubles with every further one
_MAX_REPLY_BYTES = 32 * 1024 * 1024
_MAX_EXCERPT_CHARS = 300


class HttpTool:
    """Calls an HTTP API. Connections are pooled; proxies and cookies of any kind are ignored.

    Args:
        name: What the model calls it.
        description: What the model is told of it.
        parameters: JSON schema of the arguments.
        request: What to send, and where the result stands in the reply.
        limits: What one call may take, all its attempts together.

    Raises:
        ValueError: As :class:`search_r1.tools.http.request.RequestTemplate`.
    """

    def __init__(
        self,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        request: HttpRequest,
        limits: ToolLimits | None = None,
    ) -> None:
        self.name = name
        self.schema: Mapping[str, Any] = make_schema(name, description, parameters)
        self.limits = limits or ToolLimits()
        self._request = request
        self._place = f"{request.method} {request.url}"  # as configured: without secrets
        self._template = RequestTemplate(name, request, parameters)
        self._redact = self._template.secrets.redact
        self._http = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=self.limits.max_concurrent),
            timeout=httpx.Timeout(self.limits.timeout_s, connect=_CONNECT_TIMEOUT_S),
            # No environment: a cluster's HTTP_PROXY must not catch requests to its own nodes.
            trust_env=False,
            # No cookies: one trajectory's must not reach another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Send the request and read the reply.

        Raises:
            ToolError: If an argument cannot be sent, or the API refuses it (status 4xx).
            ToolFailedError: If the API cannot be reached or answers something unforeseen.
        """
        reply, content = await self._send(self._template.fill(arguments))
        if reply.is_success:
            return ToolResult(self._redact(self._read(reply, content)))
        excerpt = self._excerpt(reply, content)
        if reply.is_client_error and reply.status_code not in self._request.failing_status:
            raise ToolError(f"{self.name} answered with status {reply.status_code}: {excerpt}")
        raise ToolFailedError(
            f"{self._place} answered with status {reply.status_code}: {excerpt!r}; check the "
            "request and the API."
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _send(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Attempt until the API answers with a status that is not retried."""
        for attempt in range(1, self._request.attempts + 1):
            is_last = attempt == self._request.attempts
            pause_s = 0.0
            try:
                reply = await self._http.send(request, stream=True)
                content = await _read_content(reply)
                if is_last or reply.status_code not in _RETRIED_STATUS:
                    return reply, content
                pause_s = read_retry_after_s(reply.headers)
            except httpx.TransportError as error:
                if is_last:
                    problem = self._redact(f"{type(error).__name__}: {error}")
                    raise ToolFailedError(
                        f"{self._place} failed {attempt} times (last: {problem}); check that the "
                        "API runs and can be reached from here."
                    ) from error
            # Jitter, so that trajectories that failed together do not come back together.
            await asyncio.sleep(pause_s + random.uniform(0.0, _BACKOFF_S * 2 ** (attempt - 1)))
        raise AssertionError("the last attempt returns or raises")

    def _read(self, reply: httpx.Response, content: bytes) -> str:
        path = self._request.result_path
        if path is None:
            return _decode(reply, content)
        try:
            return to_text(find_path(orjson.loads(content), path))
        except (orjson.JSONDecodeError, LookupError) as error:
            raise ToolFailedError(
                f"the reply of {self._place} has no {path!r} ({error}): "
                f"{self._excerpt(reply, content)!r}; correct result_path."
            ) from error

    def _excerpt(self, reply: httpx.Response, content: bytes) -> str:
        return self._redact(_decode(reply, content))[:_MAX_EXCERPT_CHARS]


async def _read_content(reply: httpx.Response) -> bytes:
    content = bytearray()
    try:
        async for piece in reply.aiter_bytes():
            content += piece
            if len(content) > _MAX_REPLY_BYTES:
                raise ToolFailedError(
                    f"the reply is longer than {_MAX_REPLY_BYTES:,} bytes; ask the API for less."
                )
    finally:
        await reply.aclose()
    return bytes(content)


def _decode(reply: httpx.Response, content: bytes) -> str:
    return content.decode(reply.encoding or "utf-8", errors="replace")
