"""A session with an MCP server, a command or a URL, that outlives the server's death."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.streamable_http import streamable_http_client

from search_r1.errors import ToolFailedError
from search_r1.tools.mcp.address import McpAddress
from search_r1.tools.redaction import Secrets, check_header
from search_r1.tools.templates import fill_variables, parse_template

_T = TypeVar("_T")

_CONNECT_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 10.0
_LOST_CODES = (types.CONNECTION_CLOSED, types.INVALID_REQUEST)  # the second: session unknown
_MAX_REPLY_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class _Connection:
    """An open session, and the task that holds it open until ``closing`` is set."""

    client: Client
    closing: asyncio.Event
    holder: asyncio.Task[None]


class _LostError(Exception):
    """The server went away."""


class McpServer:
    """A session with one MCP server, opened at once and opened again when the server dies.

    The session lives on an event loop of its own in a thread of its own: its cancel scopes must be
    left in the task that entered them, a reply of megabytes is parsed there and not between two
    tokens, and tools can be listed before any event loop runs.

    Args:
        name: For errors.
        address: Where it is.

    Raises:
        ValueError: If an environment variable that the address needs is not set.
        ToolFailedError: If it cannot be started or reached.
    """

    def __init__(self, name: str, address: McpAddress) -> None:
        self._name = name
        self._address = address
        self._env = _fill(address.env, f"{name}.env")
        self._headers = _fill(address.headers, f"{name}.headers")
        for header, value in self._headers.items():
            check_header(header, value, f"the MCP server {name}")
        # What the environment of a command holds stays on this machine, and may be a path to show.
        templates = [parse_template(value, name) for value in address.headers.values()]
        self.redact = Secrets(secret for one in templates for secret in one.secrets).redact
        self._connection: _Connection | None = None
        self._opening = asyncio.Lock()
        self._closing = asyncio.Event()
        self._is_closed = False
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(started)), name=f"mcp-{name}", daemon=True
        )
        self._thread.start()
        self._loop = started.result()
        try:
            self.tools: list[types.Tool] = self._submit(self._list_tools()).result()
        except BaseException:
            self.close()
            raise

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool; when the server has died, start it again and call once more.

        Raises:
            MCPError: If the server refuses the call.
            ToolFailedError: If the server cannot be reached, or dies again.
        """
        if self._is_closed:
            raise ToolFailedError(f"the session with the MCP server {self._name} is closed")
        try:
            return await asyncio.wrap_future(self._submit(self._call(tool, dict(arguments))))
        except _LostError as error:
            raise ToolFailedError(self.redact(str(error))) from error

    def close(self) -> None:
        """End the session, and the server if it is ours; a second time does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _submit(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    # What follows runs on the session's own event loop.

    async def _main(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        started.set_result(asyncio.get_running_loop())
        await self._closing.wait()
        await self._close_connection()

    async def _list_tools(self) -> list[types.Tool]:
        tools: list[types.Tool] = []
        cursor: str | None = None
        try:
            connection = await self._connected(lost=None)
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                while True:
                    page = await self._guard(
                        connection, connection.client.list_tools(cursor=cursor)
                    )
                    tools += page.tools
                    cursor = page.next_cursor
                    if cursor is None:
                        return tools
        except (_LostError, MCPError, TimeoutError) as error:
            raise ToolFailedError(
                f"the MCP server {self._name} does not list its tools: "
                f"{self.redact(_root(error))}; start {self._address} by hand to see why."
            ) from error

    async def _call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        connection = await self._connected(lost=None)
        try:
            return await self._guard(connection, connection.client.call_tool(tool, arguments))
        except _LostError:
            connection = await self._connected(lost=connection)
            return await self._guard(connection, connection.client.call_tool(tool, arguments))

    async def _guard(self, connection: _Connection, request: Coroutine[Any, Any, _T]) -> _T:
        """Wait for a reply, or for the end of the session it would have come by."""
        task = asyncio.ensure_future(request)
        try:
            await asyncio.wait({task, connection.holder}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() or task.cancelled():
                raise _LostError(f"the MCP server {self._name} went away in the middle of a call")
            return task.result()
        except MCPError as error:
            if error.code not in _LOST_CODES:
                raise
            raise _LostError(f"the MCP server {self._name} ended the session: {error}") from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise _LostError(f"the session with the MCP server {self._name} broke") from error
        finally:
            task.cancel()

    async def _connected(self, lost: _Connection | None) -> _Connection:
        """Give the open session; opens another if there is none, or only the one just lost."""
        async with self._opening:
            current = self._connection
            if current is not None and current is not lost and not current.holder.done():
                return current
            await self._close_connection()
            self._connection = await self._open()
            return self._connection

    async def _open(self) -> _Connection:
        closing = asyncio.Event()
        opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        holder = asyncio.create_task(self._hold(opened, closing))
        holder.add_done_callback(_retrieve)
        waited: set[asyncio.Future[Any]] = {opened, holder}
        try:
            await asyncio.wait(
                waited, timeout=_CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:  # the call that opens it timed out
            holder.cancel()
            raise
        if opened.done():
            return _Connection(opened.result(), closing, holder)
        problem = f"no answer within {_CONNECT_TIMEOUT_S:g} s"
        if holder.done() and not holder.cancelled():
            problem = _root(holder.exception())
        holder.cancel()
        raise _LostError(
            f"the MCP server {self._name} ({self._address}) cannot be reached: {problem}"
        )

    async def _hold(self, opened: asyncio.Future[Client], closing: asyncio.Event) -> None:
        """Enter and leave the session in one task, as its cancel scopes want it."""
        address = self._address
        if address.url is None:
            program, *rest = address.command
            server = StdioServerParameters(command=program, args=rest, env=self._env)
            async with Client(server) as client:
                opened.set_result(client)
                await closing.wait()
            return
        # A client of our own, because the default one would heed a cluster's HTTP_PROXY.
        async with httpx2.AsyncClient(
            headers=self._headers, timeout=httpx2.Timeout(30.0, read=None), trust_env=False
        ) as http:
            transport = streamable_http_client(
                address.url, http_client=http, max_sse_event_size=_MAX_REPLY_BYTES
            )
            async with Client(transport) as client:
                opened.set_result(client)
                await closing.wait()

    async def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closing.set()
            await asyncio.wait({connection.holder}, timeout=_CLOSE_TIMEOUT_S)
            connection.holder.cancel()


def _fill(values: Mapping[str, str], place: str) -> dict[str, str]:
    return {key: fill_variables(value, f"{place}.{key}") for key, value in values.items()}


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not log it: every call reports it


def _root(error: BaseException | None) -> str:
    """Name the first cause in a group of exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
