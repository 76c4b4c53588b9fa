"""Where an MCP server is; apart from the client, which takes a second to import."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class McpAddress:
    """Where an MCP server is: a command to start, or a URL of streamable HTTP.

    The values of ``env`` and ``headers`` may hold ``${VARIABLE}``.
    """

    command: tuple[str, ...] = ()
    """Program and arguments; it speaks MCP on stdin and stdout."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment of the command, on top of PATH, HOME and the like; nothing else is inherited."""
    url: str | None = None
    """Address of a running server, as a rule ending in /mcp."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of every request to ``url``."""

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError(
                f"an MCP server has command {list(self.command)} and url {self.url!r}; expected "
                "one of the two."
            )

    def __str__(self) -> str:
        return self.url or " ".join(self.command)
