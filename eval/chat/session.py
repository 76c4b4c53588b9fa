"""One question to one model, told event by event as it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.steps import DataPrepError
from eval.evaluator import Asker, ModelSetup
from eval.methods import METHODS, Context, decoding_named
from search_r1.policies import Policy
from search_r1.rows import Row
from search_r1.types import Trajectory, Turn

Event = dict[str, Any]
"""``type`` and what belongs to it: ``loading``, ``text``, ``turn``, ``end`` or ``error``."""
OnIds = Callable[[list[int]], None]
_CUT_CHARACTER = "\ufffd"

CHAT_METHODS = {name: one for name, one in METHODS.items() if one.given is not Context.GOLD}
"""The ways of an evaluation, but for the oracle: a chat has no gold answers."""


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A model that is ready to answer."""

    asking: ModelSetup
    policy_at: Callable[[float, int, OnIds], Policy]
    """Gives the policy at a temperature, seeded, that tells of ids as they are sampled."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and how."""

    text: str
    model: str
    method: str = "search"
    decoding: str = "greedy"


class Session:
    """Asks one question at a time; others wait for their turn.

    Args:
        models: Names of the models.
        load: Makes a model ready, and may put another one away for it.
    """

    def __init__(self, models: Sequence[str], load: Callable[[str], Awaitable[ReadyModel]]) -> None:
        self.models = list(models)
        self.loaded = ""
        self._load = load
        self._turn = asyncio.Lock()

    async def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Answer a question; who stops listening stops the model.

        Yields:
            ``loading`` where the model is not ready yet; ``text``, the next characters of a turn;
            ``turn``, the record of a turn with what it was given; ``end`` or ``error`` at last.
        """
        async with self._turn:
            events: asyncio.Queue[Event | None] = asyncio.Queue()
            task = asyncio.create_task(self._answer(question, events.put_nowait))
            task.add_done_callback(lambda _: events.put_nowait(None))
            try:
                while (event := await events.get()) is not None:
                    yield event
            finally:
                task.cancel()
                await asyncio.wait([task])
            task.result()

    async def _answer(self, question: Question, tell: Callable[[Event], None]) -> None:
        try:
            if question.model != self.loaded:
                tell({"type": "loading", "model": question.model})
                await asyncio.sleep(0.1)  # an engine that starts lets nothing else through
            loaded = await self._load(question.model)
            self.loaded = question.model
            started = time.monotonic()
            trajectory = await _roll_out(loaded, question, tell)
        except (DataPrepError, ValueError) as error:
            tell({"type": "error", "message": str(error)})
            return
        tell(_end(trajectory, time.monotonic() - started))


async def _roll_out(
    loaded: ReadyModel, question: Question, tell: Callable[[Event], None]
) -> Trajectory:
    asking, method = loaded.asking, CHAT_METHODS[question.method]
    watch = _Watch(asking, tell)
    decoding = decoding_named(question.decoding)
    policy = loaded.policy_at(decoding.temperature, decoding.seed, watch.on_ids)
    watch.show(method.opening(asking.parts.parser))
    return await Asker(asking).ask(method, _row_of(question.text), policy, watch.on_turn)


class _Watch:
    """Turns ids and turns into events."""

    def __init__(self, asking: ModelSetup, tell: Callable[[Event], None]) -> None:
        self._decode = asking.parts.codec.decode
        self._tell = tell
        self._number = 1
        self._shown = ""

    def show(self, text: str) -> None:
        """Tell of text that is not sampled."""
        if text:
            self._tell({"type": "text", "turn": self._number, "text": text})

    def on_ids(self, ids: list[int]) -> None:
        """Tell of the characters that the newest ids complete."""
        text = self._decode(ids).rstrip(_CUT_CHARACTER)
        self.show(text[len(self._shown) :])
        self._shown = text

    def on_turn(self, turn: Turn) -> None:
        """Tell of a turn that was answered."""
        record = asdict(turn) | {"stop_reason": turn.stop_reason.value}
        self._tell({"type": "turn", "turn": self._number, "record": record})
        self._number, self._shown = self._number + 1, ""


def _end(trajectory: Trajectory, seconds: float) -> Event:
    metadata: Mapping[str, Any] = trajectory.metadata
    return {
        "type": "end",
        "prediction": trajectory.prediction,
        "stop_reason": trajectory.stop_reason.value if trajectory.stop_reason else "",
        "problem": metadata.get("retriever_error") or metadata.get("tool_error") or "",
        "given": metadata.get("given_text", ""),
        "searches": trajectory.num_searches,
        "tokens": sum(trajectory.response_mask),
        "seconds": seconds,
    }


def _row_of(text: str) -> Row:
    return {
        "data_source": "chat",
        "prompt": [],
        "reward_model": {"style": "rule", "ground_truth": {"target": []}},
        "extra_info": {"split": "chat", "index": 0, "question": " ".join(text.split())},
    }
