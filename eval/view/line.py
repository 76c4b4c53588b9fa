"""What the list needs of a line of trajectories, without the ids that make most of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from search_r1.metrics import INFRASTRUCTURE
from search_r1.tools.base import OutcomeStatus


class _Call(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] = {}
    status: str = ""
    is_search: bool | None = None
    """None in dumps from before there were other tools."""

    @property
    def has_found(self) -> bool:
        is_search = self.name == "search" if self.is_search is None else self.is_search
        return is_search and self.status == OutcomeStatus.OK


class _Turn(msgspec.Struct):
    num_ids: int = 0
    num_observation_ids: int = 0
    generate_s: float = 0.0
    tool_s: float = 0.0
    calls: list[_Call] = []


class _Metadata(msgspec.Struct):
    data_source: str = ""
    knowledge: str = ""


class _Line(msgspec.Struct):
    """The fields of a dumped trajectory that are read; the others are skipped unread."""

    uid: str
    question: str
    gold_answers: list[str]
    turns: list[_Turn]
    reward: dict[str, float | None]
    prediction: str | None = None
    stop_reason: str | None = None
    step: int = -1
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class Entry(msgspec.Struct, gc=False):
    """One trajectory in the list, and where its line stands."""

    uid: str
    question: str
    gold_answers: str
    prediction: str | None
    queries: str
    verdict: str
    """``right``, ``wrong``, ``none`` without an answer, or ``lost`` to infrastructure."""
    stop_reason: str
    reward: float
    searches: int
    tokens: int
    """Written by the model."""
    seconds: float
    step: int
    source: str
    knowledge: str
    file: int = 0
    """Place of its file in the collection."""
    offset: int = 0
    """First byte of its line."""
    length: int = 0
    """Bytes of its line."""

    def holds(self, words: str) -> bool:
        """Tell whether case-folded words stand in what a person would look for."""
        texts = (self.question, self.prediction or "", self.gold_answers, self.queries, self.uid)
        return any(words in text.casefold() for text in texts)


_decoder = msgspec.json.Decoder(_Line)


def read_entry(line: bytes) -> Entry:
    """Read a line for the list.

    Raises:
        ValueError: If it is no dumped trajectory.
    """
    try:
        return _entry(_decoder.decode(line))
    except msgspec.MsgspecError:  # NaN and half surrogate pairs, which only Python's JSON has
        return _entry(msgspec.convert(read_record(line), _Line))


def read_record(line: bytes) -> Any:
    """Read a whole line; what is not a finite number becomes None, which every JSON has.

    Raises:
        ValueError: If it is not JSON.
    """
    return json.loads(line, parse_constant=lambda _: None)


def _entry(line: _Line) -> Entry:
    calls = [call for turn in line.turns if turn.num_observation_ids for call in turn.calls]
    queries = [str(call.arguments.get("query", "")) for turn in line.turns for call in turn.calls]
    return Entry(
        uid=line.uid,
        question=line.question,
        gold_answers=" | ".join(line.gold_answers),
        prediction=line.prediction,
        queries=" | ".join(queries),
        verdict=_verdict(line),
        stop_reason=line.stop_reason or "",
        reward=line.reward.get("total") or 0.0,
        searches=sum(call.has_found for call in calls),
        tokens=sum(turn.num_ids for turn in line.turns),
        seconds=sum(turn.generate_s + turn.tool_s for turn in line.turns),
        step=line.step,
        source=line.metadata.data_source,
        knowledge=line.metadata.knowledge,
    )


def _verdict(line: _Line) -> str:
    if line.stop_reason in INFRASTRUCTURE:
        return "lost"
    if line.prediction is None:
        return "none"
    return "right" if line.reward.get("em") else "wrong"
