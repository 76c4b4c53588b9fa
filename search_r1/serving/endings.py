"""The token that ended a turn, where a server leaves its text in the output."""

from __future__ import annotations

import re
from collections.abc import Iterable

from search_r1.parsers.formats.scanner import partial_of


class TurnEnding:
    """Takes the text of an end-of-turn token off a turn, whole or piece by piece.

    Args:
        endings: Texts of the tokens that end a turn.
    """

    def __init__(self, endings: Iterable[str]) -> None:
        self._endings = sorted({text for text in endings if text}, key=len, reverse=True)
        self._reach = max(map(len, self._endings), default=0)
        self._partial = re.compile(rf"(?:{partial_of(*self._endings) or '(?!)'})\Z")
        self._held = ""

    def cut(self, text: str) -> str:
        """Give a whole turn without its ending."""
        for ending in self._endings:
            if text.endswith(ending):
                return text.removesuffix(ending)
        return text

    def feed(self, piece: str) -> str:
        """Give what is surely no ending; the rest is held until more follows."""
        text = self._held + piece
        found = self._partial.search(text, max(0, len(text) - self._reach))
        end = found.start() if found else len(text)
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        """End the turn; gives what was held back and is no ending."""
        held, self._held = self._held, ""
        return self.cut(held)
