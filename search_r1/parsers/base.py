"""The tool-parser contract: how calls are recognised in text and observations written back.

The names follow vLLM's tool parsers (``adjust_request``, ``extract_tool_calls``), because a rollout
that is token-in-token-out must parse on the client, and one parser should serve training,
evaluation and serving alike. A rollout needs two things more than serving does: strings at which
generation stops, and the text of an observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_r1.types import Passage, ToolCall


class ParseStatus(StrEnum):
    """Whether the text held a call. "No call" and "a broken call" are different mistakes."""

    CALL = "call"
    NO_CALL = "no_call"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ExtractedToolCalls:
    """What one turn of model text held.

    Attributes:
        status: Whether there was a call, none, or a broken one.
        tool_calls: The calls, in the order written; empty unless ``status`` is ``CALL``.
        content: The text before the first call, or the whole text when there is none.
        end: Index just past the last call in the text; 0 without a call.
        error: What was wrong, in words the model can act on; set when ``status`` is ``MALFORMED``.
    """

    status: ParseStatus
    tool_calls: list[ToolCall] = field(default_factory=list)
    content: str = ""
    end: int = 0
    error: str | None = None

    @property
    def tools_called(self) -> bool:
        """True when there is at least one call (vLLM's name for it)."""
        return bool(self.tool_calls)


class ToolParser(ABC):
    """One call format.

    Class attributes:
        stop: Strings that end a turn when the model completes them.
        forbidden: Strings only the environment may write; a turn that completes one is malformed.
    """

    stop: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def adjust_request(self, request: Any) -> Any:
        """Change a serving request before generation (stop strings, special tokens); returns it."""
        return request

    @abstractmethod
    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Find the calls in one whole turn of model text. Never raises on what a model wrote."""

    @abstractmethod
    def format_observation(self, passages: Sequence[Passage]) -> str:
        """Write retrieved passages the way the model reads them, tags and line breaks included."""

    @abstractmethod
    def format_error(self, message: str) -> str:
        """Write the one observation that tells the model what was wrong with its turn."""
