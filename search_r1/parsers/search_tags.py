"""Search-R1's raw tags: ``<search>`` asks, ``<information>`` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_r1.parsers import register_tool_parser
from search_r1.parsers.base import ExtractedToolCalls, ParseStatus, ToolParser
from search_r1.types import Passage, ToolCall

_MAX_QUERY_CHARS = 2000  # servers refuse endless queries, and that must not look like their failure


@register_tool_parser("search_tags")
class SearchTagsParser(ToolParser):
    """Calls as XML-like tags in plain text, for base models and raw completion prompts.

    Args:
        search_tag: Name of the tag the model writes.
        information_tag: Name of the tag the environment writes.
    """

    def __init__(self, search_tag: str = "search", information_tag: str = "information") -> None:
        for name in (search_tag, information_tag):
            if not name.isidentifier():
                raise ValueError(
                    f"tag name {name!r} is not a plain word; use letters, digits and underscores."
                )
        self._open, self._close = f"<{search_tag}>", f"</{search_tag}>"
        self._info_open, self._info_close = f"<{information_tag}>", f"</{information_tag}>"
        self.stop = (self._close,)
        self.forbidden = (self._info_open,)

    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Find the first closed search; the last opening tag before the close counts."""
        end = text.find(self._close)
        if end < 0:
            return self._without_close(text)
        start = text.rfind(self._open, 0, end)
        after = end + len(self._close)
        if start < 0:
            return self._malformed(text, f"{self._close} closes a tag that was never opened")
        query = " ".join(text[start + len(self._open) : end].split())
        if not query:
            return self._malformed(
                text, f"the query between {self._open} and {self._close} is empty"
            )
        if len(query) > _MAX_QUERY_CHARS:
            error = f"the query has {len(query)} characters; {_MAX_QUERY_CHARS} are the most"
            return self._malformed(text, error)
        if "<" in query and ">" in query:
            return self._malformed(text, f"the query {query[:60]!r} contains a tag")
        call = ToolCall("search", {"query": query})
        return ExtractedToolCalls(ParseStatus.CALL, [call], content=text[:start], end=after)

    def format_observation(self, passages: Sequence[Passage]) -> str:
        """Number the passages ``Doc 1(Title: ...)`` as Search-R1 does, between information tags."""
        lines = [
            f"Doc {rank}(Title: {self._defuse(passage.title)}) {self._defuse(passage.text)}"
            for rank, passage in enumerate(passages, start=1)
        ]
        return self._wrap("\n".join(lines) if lines else "Nothing was found.")

    def format_error(self, message: str) -> str:
        """Say what was wrong and how a search and an answer are written."""
        return (
            f"\nThat did not work: {message}. To search, write {self._open}query{self._close}. "
            "To answer, write <answer>answer</answer>.\n"
        )

    def _wrap(self, body: str) -> str:
        return f"\n{self._info_open}{body}{self._info_close}\n"

    def _defuse(self, text: str) -> str:
        """Keep retrieved text from closing the information block early."""
        return text.replace(self._info_close, self._info_close.replace("</", "< /"))

    def _without_close(self, text: str) -> ExtractedToolCalls:
        if self._open in text:
            return self._malformed(text, f"{self._open} was not closed by {self._close}")
        return ExtractedToolCalls(ParseStatus.NO_CALL, content=text)

    def _malformed(self, text: str, error: str) -> ExtractedToolCalls:
        return ExtractedToolCalls(ParseStatus.MALFORMED, content=text, error=error)
