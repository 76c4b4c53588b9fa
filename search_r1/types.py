"""What a trajectory is made of: passages, calls, turns, token ids that grow with their mask.

A trajectory only ever grows by appending. Sampled ids are kept exactly as the engine sampled them
(mask 1, with their logprobs); observation ids are encoded once, on their own (mask 0, logprob 0).
Nothing sampled is decoded and encoded again, and the mask is recorded as ids arrive, never inferred
from pad ids.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class FinishReason(StrEnum):
    """How the generation of one turn ended."""

    STOP = "stop"  # a stop string was completed
    EOS = "eos"  # the model ended its text
    LENGTH = "length"  # the turn's token budget ran out
    ABORT = "abort"  # the engine stopped for a reason of its own


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWER = "answer"  # it closed an answer
    NO_ACTION = "no_action"  # neither a search nor an answer, and no nudge was left
    SEARCH_LIMIT = "search_limit"  # it made a call after the last one allowed
    RESPONSE_LENGTH = "response_length"  # the trajectory's token budget ran out
    RETRIEVER_FAILED = "retriever_failed"  # infrastructure: masked out of learning
    TOOL_FAILED = "tool_failed"  # another tool; infrastructure: masked out of learning
    ABORTED = "aborted"  # infrastructure: the engine broke off; masked out of learning

    @property
    def is_infrastructure(self) -> bool:
        """True when the model is not to blame, so that nothing must be learned from it."""
        return self in (
            StopReason.RETRIEVER_FAILED,
            StopReason.TOOL_FAILED,
            StopReason.ABORTED,
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieved passage. ``score`` is the retriever's similarity, higher is better, no unit."""

    id: str
    title: str
    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model wrote: the tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of a turn and what came of it."""

    name: str
    arguments: dict[str, Any]
    status: str  # an ``OutcomeStatus`` of the tools
    seconds: float
    is_search: bool = False  # it asked the retriever


@dataclass(frozen=True, slots=True)
class Generation:
    """What a policy returned for one turn.

    Attributes:
        ids: Sampled token ids, the one that ended the turn included.
        logprobs: Log-probability of each sampled id, in nats; same length as ``ids``.
        context_digest: :func:`digest` of the ids handed to the engine, computed where they were
            handed over.
        metadata: Engine facts that travel with the trajectory (weight version, preemptions).
        finish: How the turn ended, where the ids do not tell; None where they do.
    """

    ids: list[int]
    logprobs: list[float]
    context_digest: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    finish: FinishReason | None = None

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.logprobs):
            raise ValueError(
                f"the policy returned {len(self.ids)} ids but {len(self.logprobs)} logprobs; "
                "ask the engine for the logprob of every sampled token."
            )


@dataclass(slots=True)
class Turn:
    """One generation and the observation that followed it, if any. Times are in seconds."""

    model_text: str
    start: int  # index into response_ids at which the model began to write
    num_ids: int  # how many ids it wrote
    stop_reason: FinishReason
    generate_s: float
    context_digest: str = ""
    call: ToolCall | None = None  # the first one, when there are several
    calls: list[CallRecord] = field(default_factory=list)  # all of them, once they were answered
    well_formed: bool = False
    is_malformed_call: bool = False  # it tried to call, but not in the call format
    error: str | None = None  # what was wrong with a malformed turn, as told to the model
    overrun: bool = False  # the sampled token that closed the tag ran past it
    observation_text: str = ""
    num_observation_ids: int = 0
    observation_truncated: bool = False
    passage_ids: list[str] = field(default_factory=list)
    tool_s: float = 0.0
    opening: str = ""  # text the turn was made to begin with; its ids stand in the prompt


@dataclass(slots=True)
class Trajectory:
    """The record of one rollout. ``response_*`` lists always have equal length."""

    uid: str
    question: str
    gold_answers: list[str]
    prompt_ids: list[int]
    response_ids: list[int] = field(default_factory=list)
    response_mask: list[int] = field(default_factory=list)
    response_logprobs: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    prediction: str | None = None
    stop_reason: StopReason | None = None
    reward: dict[str, float] = field(default_factory=dict)
    step: int = -1
    metadata: dict[str, Any] = field(default_factory=dict)

    def append_model(self, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Append sampled ids as they are, with mask 1.

        Raises:
            ValueError: If the two sequences differ in length.
        """
        if len(ids) != len(logprobs):
            raise ValueError(
                f"{len(ids)} ids but {len(logprobs)} logprobs in {self.uid!r}; "
                "pass one for each id."
            )
        self.response_ids.extend(ids)
        self.response_mask.extend([1] * len(ids))
        self.response_logprobs.extend(logprobs)

    def append_observation(self, ids: Sequence[int]) -> None:
        """Append ids the model did not write, with mask 0 and logprob 0."""
        self.response_ids.extend(ids)
        self.response_mask.extend([0] * len(ids))
        self.response_logprobs.extend([0.0] * len(ids))

    @property
    def context_ids(self) -> list[int]:
        """Everything the model has before its eyes: the prompt, then the response so far."""
        return self.prompt_ids + self.response_ids

    @property
    def num_calls(self) -> int:
        """Calls that were answered, of whatever tool and with whatever outcome."""
        return sum(len(turn.calls) for turn in self.turns if turn.num_observation_ids > 0)

    @property
    def num_searches(self) -> int:
        """Searches that found passages for the model to read."""
        return sum(
            call.is_search and call.status == "ok"
            for turn in self.turns
            if turn.num_observation_ids > 0
            for call in turn.calls
        )

    @property
    def model_text(self) -> str:
        """Everything the model wrote, turn after turn, without the observations."""
        return "".join(turn.model_text for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """Give the trajectory as plain JSON types, the shape every dump of this project has."""
        record = asdict(self)
        record["stop_reason"] = self.stop_reason.value if self.stop_reason else None
        for turn, plain in zip(self.turns, record["turns"], strict=True):
            plain["stop_reason"] = turn.stop_reason.value
        return record


def digest(ids: Sequence[int]) -> str:
    """Fingerprint a token sequence, so that a dump can show what an engine was given.

    Returns:
        The first 16 hex digits of the SHA-256 of the ids as little-endian 32-bit integers.
    """
    return hashlib.sha256(array("i", ids).tobytes()).hexdigest()[:16]
