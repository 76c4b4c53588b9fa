"""A small MCP server: over stdio, or over HTTP at the port given."""

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import EmbeddedResource, ImageContent, TextContent, TextResourceContents

server = MCPServer("test", log_level="CRITICAL")


@server.tool()
def add(a: int, b: int = 2) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.sleep(1000)
    return ""


@server.tool()
def die() -> str:
    """End the server."""
    os._exit(3)


@server.tool()
def die_once(marker: str) -> str:
    """End the server, unless the marker exists."""
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(3)
    return "alive"


@server.tool()
def bad(word: str) -> str:
    """Fail."""
    raise ValueError(f"no {word}")


@server.tool()
def big(n: int) -> str:
    """Give many characters."""
    return "x" * n


@server.tool(structured_output=False)
def mixed() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Give text, an image and a file."""
    resource = TextResourceContents(uri="file:///a.txt", text="inside")
    return [
        TextContent(type="text", text="look:"),
        ImageContent(type="image", data="AAAA", mime_type="image/png"),
        EmbeddedResource(type="resource", resource=resource),
    ]


@server.tool()
def secret() -> str:
    """Give what the environment holds."""
    return f"{os.environ.get('TOOL_SECRET')} {os.environ.get('OTHER_SECRET')}"


@server.tool()
def headers(context: Context) -> str:
    """Give what the request was authorized with."""
    return context.headers.get("authorization", "")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
