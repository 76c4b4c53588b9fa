"""A chain of thought whose every line is a search: how IRCoT calls its retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_r1.answers import ANSWER_CLOSE, ANSWER_OPEN
from search_r1.parsers.base import (
    ExtractedToolCalls,
    ParseStatus,
    StreamDelta,
    ToolCallDelta,
    ToolParser,
    ToolSchema,
)
from search_r1.parsers.calls import HOW_TO_ANSWER, CallError, dump_arguments, make_call
from search_r1.parsers.results import defuse

THOUGHT = "Thought:"
"""Begins a line of the model's; given, so that no line begins with a line break."""

_MAX_QUERY_CHARS = 2000  # servers refuse endless queries; a line was not meant as one
_INFORMATION = ("<information>", "</information>")


class SentencesParser(ToolParser):
    """Each turn is one line; a line without an answer asks for passages with itself as the query.

    Args:
        tokenizer: Not needed.
        tools: Not needed; the only tool is ``search`` with its ``query``.
    """

    stop = ("\n",)
    forbidden = _INFORMATION[:1]
    markers = (*_INFORMATION, ANSWER_OPEN, ANSWER_CLOSE)

    def __init__(self, tokenizer: Any = None, tools: Sequence[ToolSchema] = ()) -> None:
        super().__init__(tokenizer, tools)
        self._streamed = ""

    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Take the line for a query, unless an answer stands in it; see the base class."""
        line = " ".join(text.split())
        if ANSWER_CLOSE in line:
            return ExtractedToolCalls(ParseStatus.NO_CALL, content=text)
        if ANSWER_OPEN in line:
            return _broken(f"{ANSWER_OPEN} was not closed by {ANSWER_CLOSE}", text)
        if not line:
            return _broken("the line is empty", text)
        try:
            call = make_call("search", {"query": line[:_MAX_QUERY_CHARS]})
        except CallError as error:
            return _broken(str(error), text)
        return ExtractedToolCalls(ParseStatus.CALL, [call], end=len(text))

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any = None,
    ) -> StreamDelta | None:
        """Hold everything back: only the whole line tells a query from an answer."""
        self._streamed = (self._streamed if previous_text else "") + delta_text
        return None

    def finish_streaming(self) -> StreamDelta | None:
        """Give the line, as a call or as text."""
        streamed, self._streamed = self._streamed, ""
        found = self.extract_tool_calls(streamed)
        calls = tuple(
            ToolCallDelta(index, call.name, dump_arguments(call.arguments))
            for index, call in enumerate(found.tool_calls)
        )
        return StreamDelta(found.content, calls) if found.content or calls else None

    def format_results(self, texts: Sequence[str]) -> str:
        """Write each text between information tags, and begin the next line."""
        plain = (defuse(text, self.markers) for text in texts)
        written = "".join(f"\n{_INFORMATION[0]}{text}{_INFORMATION[1]}\n" for text in plain)
        return f"{written}{THOUGHT}"

    def explain(self, message: str) -> str:
        """Say what was wrong and how a line and an answer are written."""
        return f"That did not work: {message}. Write one sentence a line. {HOW_TO_ANSWER}"

    def format_error(self, message: str) -> str:
        """Write :meth:`explain`, and begin the next line."""
        return f"\n{self.explain(message)}\n{THOUGHT}"


def _broken(error: str, text: str) -> ExtractedToolCalls:
    return ExtractedToolCalls(ParseStatus.MALFORMED, content=text, error=error)
