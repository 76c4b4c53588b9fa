"""Where a call ends, found piece by piece: each character is looked at once.

A body is handed the text of one call from its first character on, in any pieces, and tells when it
has seen its end.
"""

from __future__ import annotations

import re
import sys
from typing import Protocol

MAX_DEPTH = 200  # brackets; Python's own parsers give up not much later
_BRACKET_OR_QUOTE = re.compile(r'["{}\[\]]')
_QUOTE_OR_ESCAPE = re.compile(r'["\\]')
_SPACES = re.compile(r"\s*+")
_HEAD = re.compile(r"[^{]*+")


class Body(Protocol):
    """The text of one call, from its opening to its end."""

    def find_end(self, text: str, start: int) -> int | None:
        """Read on from ``start``; the index just past the call, None when it is not in here."""
        ...


class UntilTag:
    """Ends with the first occurrence of a string, be it split over pieces."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._tail = ""  # too short to hold the tag

    def find_end(self, text: str, start: int) -> int | None:
        """See :class:`Body`."""
        reach = len(self._tag) - 1
        seam = (self._tail + text[start : start + reach]).find(self._tag)
        if seam >= 0:
            return start + seam + len(self._tag) - len(self._tail)
        found = text.find(self._tag, start)
        if found >= 0:
            return found + len(self._tag)
        rest = text[max(start, len(text) - reach) :]
        self._tail = (self._tail + rest)[-reach:] if reach else ""
        return None


class JsonBody:
    """Ends with the bracket that closes the first one; brackets inside strings do not count.

    Nested too deeply to be read, it ends at once.

    Args:
        depth: Brackets that are open already.
    """

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._is_escaped = False

    def find_end(self, text: str, start: int) -> int | None:
        """See :class:`Body`. Text before the first bracket is skipped."""
        position = start
        while position < len(text):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            pattern = _QUOTE_OR_ESCAPE if self._in_string else _BRACKET_OR_QUOTE
            match = pattern.search(text, position)
            if match is None:
                return None
            position = match.end()
            self._take(match.group())
            if self._depth in (0, MAX_DEPTH) and not self._in_string:
                return position
        return None

    def _take(self, char: str) -> None:
        if char == '"':
            self._in_string = not self._in_string
        elif char == "\\":
            self._is_escaped = True
        else:
            self._depth += 1 if char in "{[" else -1


class MarkedJson:
    """A marker, perhaps a head, then JSON; a head that is too long ends it.

    A head that ends with ``[`` is text before a list.

    Args:
        marker: The string it begins with.
        max_head_chars: Characters allowed between marker and ``{``, leading spaces not counted.
        brackets: Which brackets the JSON may begin with, directly after the marker.
    """

    def __init__(self, marker: str, max_head_chars: int, brackets: str) -> None:
        self._marker_left = len(marker)
        self._max_head_chars = max_head_chars
        self._brackets = brackets
        self._head_chars = 0
        self._head_tail = ""  # its last character that is no space
        self._json: JsonBody | None = None

    def find_end(self, text: str, start: int) -> int | None:
        """See :class:`Body`."""
        if self._json is not None:
            return self._json.find_end(text, start)
        skipped = min(self._marker_left, len(text) - start)
        self._marker_left -= skipped
        start += skipped
        if not self._head_chars:
            start = _match_end(_SPACES, text, start)
        if start == len(text):
            return None
        if self._head_chars or text[start] not in self._brackets:
            # Never further than allowed, so that many markers cost no more than one.
            limit = start + self._max_head_chars - self._head_chars + 1
            head_end = _match_end(_HEAD, text, start, limit)
            self._head_tail = (self._head_tail + text[start:head_end].rstrip())[-1:]
            if head_end == limit:
                return head_end
            if head_end == len(text):
                self._head_chars += head_end - start
                return None
            start = head_end
        self._json = JsonBody(depth=1 if self._head_tail == "[" else 0)
        return self._json.find_end(text, start)


def _match_end(pattern: re.Pattern[str], text: str, start: int, limit: int = sys.maxsize) -> int:
    match = pattern.match(text, start, limit)
    return match.end() if match else start
