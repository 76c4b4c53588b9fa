"""Ways to let one policy answer: by its own choice, or made to search, or made not to."""

from __future__ import annotations

from dataclasses import dataclass

from search_r1.answers import ANSWER_OPEN
from search_r1.parsers.base import ToolParser
from search_r1.types import ToolCall

_CUT = "\x00"  # no format writes this character, so it marks where the query stands


@dataclass(frozen=True, slots=True)
class Method:
    """One way to answer."""

    name: str
    is_searching: bool | None
    """True makes a trajectory begin with a search, False with an answer; None leaves it open."""

    def opening(self, parser: ToolParser) -> str:
        """Give the text that the first turn is made to begin with.

        Raises:
            ValueError: If the call format cannot write a call.
        """
        if self.is_searching is None:
            return ""
        if not self.is_searching:
            return ANSWER_OPEN
        call = parser.write_call(ToolCall("search", {"query": _CUT}))
        return call.partition(_CUT)[0] if _CUT in call else call.partition("\\u0000")[0]


METHODS = {
    method.name: method
    for method in (
        Method("search", None),
        Method("search_always", True),
        Method("search_never", False),
    )
}


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are drawn."""

    name: str
    temperature: float


DECODINGS = {
    decoding.name: decoding for decoding in (Decoding("greedy", 0.0), Decoding("sampled", 1.0))
}
