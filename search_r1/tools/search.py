"""The search tool: a query goes to the retriever, passages come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from search_r1.errors import ToolError
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.schema import make_schema
from search_r1.types import Passage

DESCRIPTION = "Search for passages that help to answer the question."
PARAMETERS = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "description": "What to search for.",
            "minLength": 1,
            "maxLength": 2000,
        }
    },
    "required": ["query"],
    "additionalProperties": False,
}


class Searcher(Protocol):
    """Answers queries; :class:`search_r1.client.SearchClient` is the real one."""

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Give the best passages of each query, best first; RetrieverError when it cannot."""
        ...


class SearchTool:
    """Searches the corpus behind a retrieval server.

    Args:
        searcher: Whoever made it closes it.
        top_k: Passages per search.
        name: What the model calls it.
        description: What the model is told of it.
        limits: What one search may take.
    """

    def __init__(
        self,
        searcher: Searcher,
        top_k: int = 3,
        name: str = "search",
        *,
        description: str = DESCRIPTION,
        limits: ToolLimits | None = None,
    ) -> None:
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; it must be at least 1.")
        self.name = name
        self.schema: Mapping[str, Any] = make_schema(name, description, PARAMETERS)
        self.limits = limits or ToolLimits()
        self._searcher = searcher
        self._top_k = top_k

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Search.

        Raises:
            ToolError: If the query is blank or not valid Unicode.
            RetrieverError: If the retriever cannot answer.
        """
        query: str = arguments["query"]
        if not query.strip():
            raise ToolError("The query is blank. Say what to search for.")
        try:
            query.encode()
        except UnicodeEncodeError:
            raise ToolError("The query is not valid Unicode text. Write it again.") from None
        (passages,) = await self._searcher.search([query], self._top_k)
        return ToolResult(passages=tuple(passages))

    async def aclose(self) -> None:
        """Do nothing: the searcher is not ours."""
