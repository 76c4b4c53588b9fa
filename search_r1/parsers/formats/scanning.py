"""What all our formats share: whole-turn and streamed parsing that both come from one scanner."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from search_r1.parsers.base import (
    ExtractedToolCalls,
    ParseStatus,
    StreamDelta,
    ToolCallDelta,
    ToolParser,
    ToolSchema,
)
from search_r1.parsers.calls import HOW_TO_ANSWER, dump_arguments
from search_r1.parsers.formats.bodies import Body
from search_r1.parsers.formats.scanner import BrokenCall, Item, Scanner
from search_r1.parsers.requests import adjust_for_tools, tools_of
from search_r1.parsers.results import defuse
from search_r1.types import ToolCall


class ScanningParser(ToolParser):
    """A format, written as a :class:`search_r1.parsers.formats.scanner.Grammar`.

    Attributes:
        has_special_markers: True when models write the markers as special tokens.
        syntax: How a call is written, for error messages.
    """

    opener: re.Pattern[str]
    partial_opener: re.Pattern[str]
    opener_chars: int
    separators: str = " \t\r\n"
    first_only: bool = False
    has_special_markers: bool = True
    syntax: str

    def __init__(self, tokenizer: Any = None, tools: Sequence[ToolSchema] = ()) -> None:
        super().__init__(tokenizer, tools)
        self._stream: Scanner | None = None
        self._num_streamed = 0

    @abstractmethod
    def body(self, opening: str) -> Body:
        """See :class:`search_r1.parsers.formats.scanner.Grammar`, as for the next two."""

    @abstractmethod
    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See :class:`search_r1.parsers.formats.scanner.Grammar`."""

    @abstractmethod
    def unclosed(self, raw: str) -> tuple[int, str]:
        """See :class:`search_r1.parsers.formats.scanner.Grammar`."""

    @abstractmethod
    def write_results(self, texts: Sequence[str]) -> str:
        """Write texts as the format writes results, whatever stands in them."""

    def adjust_request(self, request: Any) -> Any:
        """Keep markers in the text, and stop where a call ends, for a request that has tools."""
        return adjust_for_tools(request, self.stop, has_special_markers=self.has_special_markers)

    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Find the calls in one whole turn. Content keeps the text of broken calls."""
        turn = Scanner(self, tools_of(request, self.tools))
        items = [*turn.feed(text), *turn.close()]
        calls = [item for item in items if isinstance(item, ToolCall)]
        errors = [item.error for item in items if isinstance(item, BrokenCall)]
        called = ParseStatus.CALL if calls else ParseStatus.NO_CALL
        return ExtractedToolCalls(
            status=ParseStatus.MALFORMED if errors else called,
            tool_calls=calls,
            content=_content(items),
            end=turn.end,
            error=errors[0] if errors else None,
            unfinished=turn.unfinished,
        )

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
        """Take the next piece; a call comes in one piece, when it is closed.

        An empty ``previous_text`` begins a turn. Only ``delta_text`` is read, so that a turn costs
        its length and not its square.
        """
        if self._stream is None or not previous_text:
            self._stream = Scanner(self, tools_of(request, self.tools))
            self._num_streamed = 0
        return self._delta(self._stream.feed(delta_text))

    def finish_streaming(self) -> StreamDelta | None:
        """Give the text that was held back because it might have begun a call."""
        stream, self._stream = self._stream, None
        return self._delta(stream.close()) if stream else None

    def explain(self, message: str) -> str:
        """Say what was wrong, and how a call and an answer are written, without markup around."""
        how_to_call = f"To call a tool, write {self.syntax}"
        return f"That did not work: {message}. {how_to_call}\n{HOW_TO_ANSWER}"

    def format_results(self, texts: Sequence[str]) -> str:
        """Write the results of one turn's calls; none can bring a marker of the format with it."""
        return self.write_results([defuse(text, self.markers) for text in texts])

    def format_error(self, message: str) -> str:
        """Write :meth:`explain` where a result would stand."""
        # The message may quote the model; how a call is written must stay as it is.
        harmful = [marker for marker in self.markers if marker not in self.syntax]
        return self.write_results([defuse(self.explain(message), harmful)])

    def _delta(self, items: Sequence[Item]) -> StreamDelta | None:
        calls = [item for item in items if isinstance(item, ToolCall)]
        deltas = tuple(
            ToolCallDelta(index, call.name, dump_arguments(call.arguments))
            for index, call in enumerate(calls, start=self._num_streamed)
        )
        self._num_streamed += len(calls)
        content = _content(items)
        return StreamDelta(content, deltas) if content or deltas else None


def _content(items: Iterable[Item]) -> str:
    """Join the text of a turn, that of broken calls included."""
    return "".join(
        item.raw if isinstance(item, BrokenCall) else item
        for item in items
        if not isinstance(item, ToolCall)
    )
