"""The tool-parser contract: how calls are recognised in text and results written back.

The names and the shape are vLLM's (``adjust_request``, ``extract_tool_calls``,
``extract_tool_calls_streaming``), because a rollout that is token-in-token-out must parse on the
client, and one parser should serve training, evaluation and serving alike. A rollout needs more
than serving does: strings or tokens at which generation stops, how a result is written back, and
whether text without a call was a broken call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_r1.types import ToolCall

ToolSchema = Mapping[str, Any]
"""A tool as OpenAI writes it: ``{"type": "function", "function": {"name", "parameters", ...}}``."""


class ParseStatus(StrEnum):
    """Whether the text held a call. "No call" and "a broken call" are different mistakes."""

    CALL = "call"
    NO_CALL = "no_call"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ExtractedToolCalls:
    """What one turn of model text held.

    Attributes:
        status: ``CALL`` when every call is well-formed, ``MALFORMED`` when at least one is not.
        tool_calls: The well-formed calls, in the order written.
        content: The text beside the calls, as a chat client would show it.
        end: Index just past the last call in the text; 0 without a call.
        error: What was wrong, in words the model can act on; set when ``status`` is ``MALFORMED``.
        unfinished: Index at which a call begins that the text breaks off; None when there is none.
            What a rollout that was cut off by its token budget must not take for an answer.
    """

    status: ParseStatus
    tool_calls: list[ToolCall] = field(default_factory=list)
    content: str = ""
    end: int = 0
    error: str | None = None
    unfinished: int | None = None

    @property
    def tools_called(self) -> bool:
        """True when there is at least one call (vLLM's name for it)."""
        return bool(self.tool_calls)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of one call of a streamed turn.

    Attributes:
        index: Which call of the turn, from 0.
        name: The tool's name, in the first piece of a call only.
        arguments: The next characters of the arguments as JSON.
    """

    index: int
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class StreamDelta:
    """What a piece of streamed text added: text to show, pieces of calls."""

    content: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


class ToolParser(ABC):
    """One call format. An instance streams one turn; whole turns are parsed without state.

    Attributes:
        stop: Strings that end a turn when the model completes them.
        stop_token_ids: Tokens that end a turn, beside the model's own end-of-turn tokens.
        forbidden: Strings only the environment may write; a turn that completes one is malformed.
        markers: Strings with a meaning in this format, which a result must not bring with it.

    Args:
        tokenizer: The model's tokenizer, for formats that need its tokens; most do not.
        tools: The tools on offer, for formats that take argument types from their schemas.
    """

    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    forbidden: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any = None, tools: Sequence[ToolSchema] = ()) -> None:
        self.tokenizer = tokenizer
        self.tools = list(tools)

    def adjust_request(self, request: Any) -> Any:
        """Change a serving request before generation (stop strings, special tokens); returns it."""
        return request

    @abstractmethod
    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Find the calls in one whole turn of model text. Never raises on what a model wrote.

        Args:
            text: The turn, without the token that ended it.
            request: A serving request whose ``tools`` take the place of the parser's own.
        """

    @abstractmethod
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
        """Take the next piece of a turn; None when there is nothing to show yet.

        All pieces together, that of ``finish_streaming`` included, say what ``extract_tool_calls``
        says of the whole turn, however the text was split.
        """

    def finish_streaming(self) -> StreamDelta | None:
        """Tell that the streamed turn is over; gives what was held back until now."""
        return None

    @abstractmethod
    def format_results(self, texts: Sequence[str]) -> str:
        """Write the results of one turn's calls as a raw completion prompt continues.

        Args:
            texts: One text per call, in the order of the calls; a tool's result or an error.
        """

    @abstractmethod
    def explain(self, message: str) -> str:
        """Say what was wrong with a turn and how a call is written, for the model to read."""

    def write_call(self, call: ToolCall) -> str:
        """Write a call as the model would, for demonstrations; ``extract_tool_calls`` reads it.

        Raises:
            ValueError: If the format cannot write this call, or cannot write calls at all.
        """
        raise ValueError(
            f"{type(self).__name__} does not write calls, so no demonstration can be made in its "
            "format; give write_call to it, or choose search_tags or hermes."
        )

    def _as_read(self, written: str, call: ToolCall) -> str:
        """Give a written call back; raises ValueError when it is not read as the same call."""
        read = self.extract_tool_calls(written)
        if read.tool_calls != [call]:
            raise ValueError(
                f"{type(self).__name__} cannot write {call}: {read.error or 'it reads another'}. "
                "Change the query, or leave its question out."
            )
        return written

    def format_error(self, message: str) -> str:
        """Write :meth:`explain` as a raw completion prompt continues."""
        return f"\n{self.explain(message)}\n"
