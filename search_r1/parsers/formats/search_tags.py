"""Search-R1's raw tags: ``<search>`` asks, ``<information>`` answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from search_r1.parsers.base import ToolSchema
from search_r1.parsers.calls import HOW_TO_ANSWER, CallError, make_call
from search_r1.parsers.formats.bodies import Body, UntilTag
from search_r1.parsers.formats.scanner import Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser
from search_r1.types import ToolCall

_MAX_QUERY_CHARS = 2000  # servers refuse endless queries, and that must not look like their failure


class SearchTagsParser(ScanningParser):
    """Calls as XML-like tags in plain text, for base models and raw completion prompts.

    The first closed search counts, from the last opening tag before it; text after it is dropped.

    Args:
        tokenizer: Not needed.
        tools: Not needed; the only tool is ``search`` with its ``query``.
        search_tag: Name of the tag the model writes.
        information_tag: Name of the tag the environment writes.
    """

    first_only = True
    has_special_markers = False

    def __init__(
        self,
        tokenizer: Any = None,
        tools: Sequence[ToolSchema] = (),
        *,
        search_tag: str = "search",
        information_tag: str = "information",
    ) -> None:
        super().__init__(tokenizer, tools)
        for name in (search_tag, information_tag):
            if not name.isidentifier():
                raise ValueError(
                    f"tag name {name!r} is not a plain word; use letters, digits and underscores."
                )
        self._open, self._close = f"<{search_tag}>", f"</{search_tag}>"
        self._info_open, self._info_close = f"<{information_tag}>", f"</{information_tag}>"
        self.opener = re.compile(f"{self._open}|{self._close}")
        self.partial_opener = re.compile(f"(?:{partial_of(self._open, self._close)})\\Z")
        self.opener_chars = len(self._close)
        self.syntax = f"{self._open}query{self._close}"
        self.stop = (self._close,)
        self.forbidden = (self._info_open,)
        self.markers = (self._open, self._close, self._info_open, self._info_close)

    def write_call(self, call: ToolCall) -> str:
        """See the base class."""
        query = " ".join(str(call.arguments.get("query", "")).split())
        plain = ToolCall(call.name, {**call.arguments, "query": query})
        return self._as_read(f"{self._open}{query}{self._close}", plain)

    def body(self, opening: str) -> Body:
        """See the base class."""
        return UntilTag(self._close)

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class."""
        if raw == self._close:
            raise CallError(f"{self._close} closes a tag that was never opened")
        start = raw.rfind(self._open)
        call = make_call("search", {"query": self._read_query(raw, start)})
        yield raw[:start]
        yield call

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        return raw.rfind(self._open), f"{self._open} was not closed by {self._close}"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text between information tags."""
        return "".join(f"\n{self._info_open}{text}{self._info_close}\n" for text in texts)

    def explain(self, message: str) -> str:
        """Say what was wrong and how a search and an answer are written."""
        return f"That did not work: {message}. To search, write {self.syntax}. {HOW_TO_ANSWER}"

    def format_error(self, message: str) -> str:
        """Write :meth:`explain` as plain text: information tags hold what was found."""
        return f"\n{self.explain(message)}\n"

    def _read_query(self, raw: str, start: int) -> str:
        query = " ".join(raw[start + len(self._open) : -len(self._close)].split())
        if not query:
            raise CallError(f"the query between {self._open} and {self._close} is empty")
        if len(query) > _MAX_QUERY_CHARS:
            raise CallError(
                f"the query has {len(query)} characters; {_MAX_QUERY_CHARS} are the most"
            )
        if "<" in query and ">" in query:
            raise CallError(f"the query {query[:60]!r} contains a tag")
        return query
