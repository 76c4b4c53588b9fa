"""What the parsers of vLLM and verl do not say, worked out the same way for both.

They name the calls they could read. That a call was begun and could not be read, or that the text
broke off inside one, shows only where a format has a marker at which calls begin, and where the
parser tells it. Without a known marker a broken call is "no call", as it is for the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_r1.parsers.base import ExtractedToolCalls, ParseStatus
from search_r1.parsers.calls import CallError, make_call, read_json
from search_r1.parsers.results import RESPONSE_CLOSE, RESPONSE_OPEN
from search_r1.types import ToolCall

_START_NAMES = (
    "tool_call_start_token",
    "tool_calls_start_token",
    "tool_calls_section_start_token",
    "bot_token",
    "bot_string",
)
_END_NAMES = ("tool_call_end_token", "tool_calls_end_token", "tool_calls_section_end_token")


@dataclass(frozen=True, slots=True)
class Markers:
    """Strings at which calls of a format begin and end; empty where the parser tells none."""

    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    @property
    def of_results(self) -> tuple[str, ...]:
        """What a result must not bring with it: these, and the tags it is written between."""
        return (*self.starts, *self.ends, RESPONSE_OPEN, RESPONSE_CLOSE)

    def count(self, text: str) -> int:
        """Count the calls a text begins: occurrences of its most frequent start marker."""
        return max((text.count(start) for start in self.starts), default=0)

    def end(self, text: str) -> int:
        """Give the index just past the last end marker; the whole text has ended without one."""
        after = [text.rfind(end) + len(end) for end in self.ends if end in text]
        return max(after, default=len(text))

    def unfinished(self, text: str, is_read: bool) -> int | None:
        """Give the index of a call the text breaks off; None when there is none or nobody can tell.

        Args:
            text: One turn.
            is_read: Whether the parser read a call; decides where no end marker is known.
        """
        start = max((text.rfind(start) for start in self.starts), default=-1)
        if start < 0 or (is_read and not self.ends):
            return None
        is_closed = any(text.find(end, start) >= 0 for end in self.ends)
        return None if is_closed else start

    def before(self, text: str) -> int:
        """Give the index up to which a growing text is surely beside the calls."""
        found = [text.find(start) for start in self.starts if start in text]
        if found:
            return min(found)
        sizes = (
            size
            for start in self.starts
            for size in range(1, len(start))
            if text.endswith(start[:size])
        )
        return len(text) - max(sizes, default=0)


def find_markers(parser: Any) -> Markers:
    """Read the markers an engine's parser keeps, under the names vLLM and verl give them."""
    terminals: dict[str, str] = {}
    if engine := getattr(parser, "_parser_engine", None):  # vLLM's declarative formats
        terminals = engine.parser_engine_config.terminals
    return Markers(
        starts=_strings(parser, _START_NAMES, terminals, ("TOOL_START", "TOOL_CALLS")),
        ends=_strings(parser, _END_NAMES, terminals, ("TOOL_END", "TOOL_SECTION_END")),
    )


def judge(
    text: str, calls: Sequence[tuple[str, str]], content: str, markers: Markers
) -> ExtractedToolCalls:
    """Say what a turn held, from the calls an engine's parser read in it.

    Args:
        text: The whole turn.
        calls: Name and JSON arguments of each call.
        content: What the engine's parser gave as the text beside the calls.
        markers: Where calls of the format begin and end, as far as known.
    """
    tool_calls: list[ToolCall] = []
    error: str | None = None
    for name, arguments in calls:
        try:
            decoded = read_json(arguments or "{}", f"what stands as arguments of {name}")
            tool_calls.append(make_call(name, decoded))
        except CallError as wrong:
            error = error or str(wrong)
    if error is None and len(calls) < markers.count(text):
        error = "a tool call was begun that could not be read"
    if error is not None:
        status = ParseStatus.MALFORMED
    else:
        status = ParseStatus.CALL if calls else ParseStatus.NO_CALL
    return ExtractedToolCalls(
        status,
        tool_calls,
        content=content,
        end=markers.end(text) if calls else 0,
        error=error,
        unfinished=markers.unfinished(text, is_read=bool(calls)),
    )


def _strings(
    parser: Any, names: Sequence[str], terminals: dict[str, str], terminal_names: Sequence[str]
) -> tuple[str, ...]:
    values = [getattr(parser, name, None) for name in names]
    values += [terminals.get(name) for name in terminal_names]
    # A plain word, such as Phi-4's "functools", also stands in text that calls nothing.
    marks = (value for value in values if isinstance(value, str) and not value.isalnum())
    return tuple(dict.fromkeys(filter(None, marks)))
