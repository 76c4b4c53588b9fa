"""Reads one turn piece by piece: text, calls and broken calls, in one pass however it is split.

Text is given out as soon as it cannot be the beginning of a call, a call as soon as it is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from search_r1.parsers.base import ToolSchema
from search_r1.parsers.calls import CallError
from search_r1.parsers.formats.bodies import Body
from search_r1.types import ToolCall

_MAX_CALLS = 128  # in a turn; more are a loop the model is caught in, not work to do


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """A call that could not be read: why, and its text, unless good calls came of that too."""

    error: str
    raw: str = ""


_TOO_MANY = f"there are more than {_MAX_CALLS} calls in one turn; write fewer"

Item = str | ToolCall | BrokenCall
"""What a turn is made of, in order: text, calls, broken calls."""


class Grammar(Protocol):
    """How calls of one format open, where they end, how they are read; keeps no state.

    Attributes:
        opener: Matches where a call begins, in at most ``opener_chars`` characters.
        partial_opener: Matches, at the end of a text, what may become an opening.
        opener_chars: Length of the longest opening.
        separators: Characters that are dropped when they directly follow a call.
        first_only: True when the first call, good or broken, decides the turn.
    """

    opener: re.Pattern[str]
    partial_opener: re.Pattern[str]
    opener_chars: int
    separators: str
    first_only: bool

    def body(self, opening: str) -> Body:
        """Make the body of a call that begins with what ``opener`` matched."""
        ...

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """Read what a body held, from its opening to its end: one call, or several.

        Raises:
            CallError: If no call can be read from it.
        """
        ...

    def unclosed(self, raw: str) -> tuple[int, str]:
        """Explain a call the text breaks off: where in ``raw`` it begins, and what was missing."""
        ...


class Scanner:
    """Reads one turn of one format, in pieces.

    Attributes:
        tools: The tools on offer in this turn.
        end: Index just past the last call so far.
        unfinished: Index at which a call begins that the text broke off; set by :meth:`close`.
        is_after_call: True while nothing but separators followed the last call.
    """

    def __init__(self, grammar: Grammar, tools: Sequence[ToolSchema] = ()) -> None:
        self.tools = tools
        self.end = 0
        self.unfinished: int | None = None
        self.is_after_call = False
        self._grammar = grammar
        self._offset = -1  # index in the turn of the first character of `_carry`
        self._carry = "\n"  # the last character read to the end, then what may become an opening
        self._held = 1  # index in the text under work of what may become an opening
        self._body: Body | None = None
        self._raw: list[str] = []
        self._start = 0
        self._is_decided = False
        self._num_read = 0

    def feed(self, piece: str) -> list[Item]:
        """Read the next piece; gives what it completed."""
        items: list[Item] = []
        text = self._carry + piece
        position, self._held = 1, len(text)
        while position < len(text):
            if self._is_decided:
                self._show(text[position:], items)
                position = len(text)
            elif self._body is None:
                position = self._look(text, position, items)
            else:
                position = self._read_on(text, position, self._body, items)
        self._offset += self._held - 1
        self._carry = text[self._held - 1 :]
        return items

    def close(self) -> list[Item]:
        """End the turn; gives what was held back."""
        items: list[Item] = []
        if self._body is None:
            self._show(self._carry[1:], items)
            return items
        raw = "".join(self._raw)
        begin, error = self._grammar.unclosed(raw)
        self.unfinished = self._start + begin
        self._show(raw[:begin], items)
        items.append(BrokenCall(error, raw[begin:]))
        return items

    def _look(self, text: str, position: int, items: list[Item]) -> int:
        """Give out text up to an opening, or up to what may become one."""
        match = self._grammar.opener.search(text, position)
        if match is None:
            begin = max(position, len(text) - self._grammar.opener_chars)
            partial = self._grammar.partial_opener.search(text, begin)
            self._held = partial.start() if partial else len(text)
            self._show(text[position : self._held], items)
            return len(text)
        self._show(text[position : match.start()], items)
        if self._num_read == _MAX_CALLS:
            self._give(BrokenCall(_TOO_MANY), 0, items)
            self._is_decided = True
            return match.start()
        self._body = self._grammar.body(match.group())
        self._start = self._offset + match.start()
        self._raw = []
        return match.start()

    def _read_on(self, text: str, position: int, body: Body, items: list[Item]) -> int:
        """Take text into the open call, up to its end."""
        end = body.find_end(text, position)
        self._raw.append(text[position:end])
        if end is None:
            return len(text)
        self._body = None
        self._num_read += 1
        found = self._read_call("".join(self._raw))
        if not found:  # a closing that belongs to the call before it
            self.end = self._offset + end
        for item in found:
            self._give(item, self._offset + end, items)
        return end

    def _read_call(self, raw: str) -> list[Item]:
        """Read a complete call; where no good one is in it, its text is kept with the error."""
        try:
            found = list(self._grammar.read(raw, self))
        except CallError as error:
            return [BrokenCall(str(error), raw)]
        if len(found) > _MAX_CALLS:
            return [BrokenCall(_TOO_MANY, raw)]
        if any(isinstance(item, ToolCall) for item in found):
            return found
        errors = [item.error for item in found if isinstance(item, BrokenCall)]
        return [BrokenCall(error, raw) for error in errors[:1]]

    def _give(self, item: Item, end: int, items: list[Item]) -> None:
        if isinstance(item, str):
            self._show(item, items)
            return
        items.append(item)
        self.is_after_call = isinstance(item, ToolCall)
        if self.is_after_call:
            self.end = end
        self._is_decided = self._grammar.first_only

    def _show(self, text: str, items: list[Item]) -> None:
        if self.is_after_call:
            if self._is_decided:
                return  # the turn was over with the call
            text = text.lstrip(self._grammar.separators)
        if text:
            items.append(text)
            self.is_after_call = False


def partial_of(*literals: str) -> str:
    """Write a pattern for every beginning of some strings, the whole of them included."""
    return "|".join("(?:".join(map(re.escape, text)) + ")?" * (len(text) - 1) for text in literals)
