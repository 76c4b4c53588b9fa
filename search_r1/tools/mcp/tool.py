"""The tools of MCP servers as ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError, types

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.mcp.address import McpAddress
from search_r1.tools.mcp.server import McpServer
from search_r1.tools.schema import make_schema


def open_tools(
    name: str,
    address: McpAddress,
    selected: Sequence[str] | None,
    renamed: Mapping[str, str],
    limits: ToolLimits,
) -> list[McpTool]:
    """Open a session with a server and make its tools ours.

    Args:
        name: The server's name, for errors.
        address: Where it is.
        selected: The server's names of the tools wanted, in this order; None for all.
        renamed: The server's name of a tool to what the model calls it.
        limits: Of each tool.

    Raises:
        ValueError: If a tool named does not exist, or cannot be offered as it is.
        ToolFailedError: If the server cannot be reached.
    """
    server = McpServer(name, address)
    try:
        offered = {tool.name: tool for tool in server.tools}
        wanted = list(offered) if selected is None else selected
        unknown = [tool for tool in (*wanted, *renamed) if tool not in offered]
        if unknown:
            raise ValueError(
                f"the MCP server {name} has no tool {', '.join(unknown)}; it has "
                f"{', '.join(sorted(offered)) or 'none'}."
            )
        return [McpTool(server, offered[tool], renamed.get(tool), limits) for tool in wanted]
    except BaseException:
        server.close()
        raise


class McpTool:
    """One tool of an MCP server.

    Args:
        server: Shared by all its tools; closed with any of them.
        tool: The tool as the server lists it.
        name: What the model calls it; None for the server's name of it.
        limits: What one call may take.
    """

    def __init__(
        self,
        server: McpServer,
        tool: types.Tool,
        name: str | None = None,
        limits: ToolLimits | None = None,
    ) -> None:
        self.name = name or tool.name
        self.schema: Mapping[str, Any] = make_schema(
            self.name, tool.description or self.name, tool.input_schema
        )
        self.limits = limits or ToolLimits()
        self._server = server
        self._tool = tool.name

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Call the tool on the server.

        Raises:
            ToolError: If the tool answers with an error, which MCP means for the model to read.
            ToolFailedError: If the server cannot be reached or breaks the protocol.
        """
        try:
            result = await self._server.call(self._tool, arguments)
        except MCPError as error:
            told = self._server.redact(error.message)
            if error.code == types.INVALID_PARAMS:
                raise ToolError(told) from error
            raise ToolFailedError(f"MCP error {error.code}: {told}") from error
        text = "\n".join(_block_text(block) for block in result.content)
        if not result.content and result.structured_content is not None:
            text = json.dumps(result.structured_content, ensure_ascii=False)
        text = self._server.redact(text)
        if result.is_error:
            raise ToolError(text)
        return ToolResult(text)

    async def aclose(self) -> None:
        """End the session with the server."""
        await asyncio.to_thread(self._server.close)


def _block_text(block: types.ContentBlock) -> str:
    """Give the text of a piece of content; what is no text is named, not shown."""
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.EmbeddedResource) and isinstance(
        block.resource, types.TextResourceContents
    ):
        return block.resource.text
    if isinstance(block, types.ResourceLink):
        return f"[{block.name}: {block.uri}]"
    return f"[{block.type}]"
