"""Ways to answer a question: the policy's own loop, the same one forced, and what it is held to.

A method is a prompt, what is given with it, and how the first turn begins; the loop is always
``search_r1.loop``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from eval.prompts import CONCLUSION, COT, DIRECT, IRCOT, READ, Prompt
from search_r1.answers import ANSWER_OPEN
from search_r1.loop import LoopConfig
from search_r1.parsers.base import ToolParser
from search_r1.types import ToolCall

_CUT = "\x00"  # no format writes this character, so it marks where the query stands


class Context(StrEnum):
    """Passages that stand in the prompt before the model writes anything."""

    FOUND = "found"
    """What the question itself finds."""
    GOLD = "gold"
    """What holds a gold answer among the first hundred for the question, or for it and the gold
    answer: what a reader could do if search were perfect."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to answer."""

    name: str
    what: str
    """In a line, for ``--help`` and reports."""
    is_searching: bool | None = None
    """True makes a trajectory begin with a search, False with an answer; None leaves it open."""
    prompt: Prompt | None = None
    """A prompt instead of the model's own."""
    given: Context | None = None
    parser: str = ""
    """Call format of the prompt; one without never searches."""
    closing: str = ""
    """What the turn after the last search is made to begin with."""

    def limits(self, own: LoopConfig) -> LoopConfig:
        """Give the loop's limits: the model's own, without searches where the prompt has none."""
        if self.prompt is None:
            return own
        if self.parser:
            return replace(own, max_calls=max(own.max_calls, 1))
        return replace(own, max_calls=0, max_nudges=0)

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
        Method("search", "the model's own loop: it searches when it wants to"),
        Method("search_always", "the same, made to begin with a search", is_searching=True),
        Method("search_never", "the same, made to answer at once", is_searching=False),
        Method("direct", "the question alone", prompt=DIRECT),
        Method("cot", "the question, and room to think", prompt=COT),
        Method(
            "rag", "what the question finds, then the question", prompt=READ, given=Context.FOUND
        ),
        Method(
            "ircot", "IRCoT: every sentence of a chain of thought is a search", prompt=IRCOT,
            given=Context.FOUND, parser="sentences", closing=f" {CONCLUSION}{ANSWER_OPEN}",
        ),
        Method(
            "oracle", "passages with a gold answer, then the question", prompt=READ,
            given=Context.GOLD,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are drawn."""

    name: str
    temperature: float
    seed: int = 0


GREEDY = Decoding("greedy", 0.0)


def decoding_named(name: str) -> Decoding:
    """Read ``greedy``, ``sampled`` (T = 1, as papers do) or ``sampledN`` (the same, seed N).

    Raises:
        ValueError: On any other name.
    """
    seed = name.removeprefix("sampled")
    if name == GREEDY.name:
        return GREEDY
    if seed != name and (not seed or seed.isdecimal()):
        return Decoding(name, 1.0, int(seed or 0))
    raise ValueError(f"unknown decoding {name!r}; give greedy, sampled, or sampledN for seed N.")
