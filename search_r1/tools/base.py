"""What a tool is, and what can come of calling one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from search_r1.types import Passage, ToolCall


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """What one tool may take."""

    timeout_s: float = 150.0
    """Seconds one call may take before it counts as failed."""
    max_calls: int | None = None
    """Calls per trajectory; further ones are refused with an observation. None: no limit."""
    max_concurrent: int = 64
    """Calls of all trajectories of a process under way at once; further ones wait."""
    max_result_chars: int = 20_000
    """Longer results are cut before they are encoded."""
    is_failure_told: bool = False
    """Tell the model of a time-out or a crash instead of ending the trajectory: for tools that run
    what the model wrote, where an endless loop is the model's own mistake."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "max_concurrent", "max_result_chars"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if self.max_calls is not None and self.max_calls < 0:
            raise ValueError(f"max_calls is {self.max_calls}; expected 0 or more, or null.")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back.

    Attributes:
        text: The result as the model reads it; ignored when there are passages.
        passages: Retrieved passages, which the loop numbers and fits into its token budget.
    """

    text: str = ""
    passages: tuple[Passage, ...] | None = None


class Tool(Protocol):
    """Something the model can call. One instance serves all trajectories of an event loop."""

    name: str
    schema: Mapping[str, Any]
    """OpenAI function schema: ``{"name", "description", "parameters": JSON schema}``."""
    limits: ToolLimits

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Do it. The arguments have been checked against the schema.

        Raises:
            ToolError: If the model asked for something that cannot be done.
            ToolFailedError: If the tool itself is broken or unreachable.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and processes."""
        ...


class OutcomeStatus(StrEnum):
    """What came of one call. All but the last two are told to the model as text."""

    OK = "ok"
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"
    CALL_LIMIT = "call_limit"
    TOOL_ERROR = "tool_error"  # the tool said that the model asked for something impossible
    TIMEOUT = "timeout"
    FAILED = "failed"


MISTAKES = (OutcomeStatus.UNKNOWN_TOOL, OutcomeStatus.BAD_ARGUMENTS)
"""Calls that were written wrongly."""
REFUSALS = (*MISTAKES, OutcomeStatus.CALL_LIMIT)
"""Calls that did not reach a tool."""


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """One call and what came of it.

    Attributes:
        call: The call as the model wrote it.
        status: What came of it.
        text: What the model reads, unless there are passages; empty for infrastructure failures.
        passages: As in :class:`ToolResult`.
        seconds: Wall time of the call, its wait for a free place included.
        is_truncated: True when the result was longer than ``max_result_chars``.
        detail: What went wrong, for people; never shown to the model.
    """

    call: ToolCall
    status: OutcomeStatus
    text: str = ""
    passages: tuple[Passage, ...] | None = None
    seconds: float = 0.0
    is_truncated: bool = False
    detail: str = ""

    @property
    def is_infrastructure(self) -> bool:
        """True when the trajectory must end and nothing be learned from it."""
        return self.status in (OutcomeStatus.TIMEOUT, OutcomeStatus.FAILED) and not self.text
