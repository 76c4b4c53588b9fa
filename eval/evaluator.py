"""Asks every question of a pass, and keeps what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from data_prep.steps import DataPrepError
from eval.answerers import Pass
from eval.benchmarks import golds_of, uid_of
from eval.methods import Context, Method
from eval.tally import Tally
from search_r1.answers import find_gold_answers
from search_r1.assembly import LoopParts
from search_r1.loop import tell_nobody
from search_r1.observations import EncodedText, fit_observation, number_passages
from search_r1.policies import Policy
from search_r1.prompts import Message, build_prompt
from search_r1.rewards import RewardConfig, score
from search_r1.rows import Row
from search_r1.tools.search import Searcher
from search_r1.types import Passage, StopReason, Trajectory, Turn

AT_ONCE = 64  # trajectories under way: keeps the engine full without thousands of open tasks
_TRIES = 3  # of a question whose search fails, while the retriever answers others
_GOLD_DEPTH = 100  # hits looked through for a passage that holds a gold answer

PolicyAt = Callable[[float, int], Policy]
"""Gives the policy at a temperature, seeded."""


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """How one model is asked: all that its passes share."""

    name: str
    """What the model is called in the files."""
    parts: LoopParts
    """The loop of the model's own format."""
    prompted: Mapping[str, LoopParts]
    """The loops of methods with a prompt of their own, by :attr:`Method.parser`."""
    policy_at: PolicyAt
    retriever: Searcher
    """Waits for a server that is away, and raises when it stays away."""
    rewards: RewardConfig
    prompt: str | None
    """Of the model's own loop; each row's own when None."""
    with_examples: bool
    """Worked examples in the prompts of methods that have their own."""

    def parts_of(self, method: Method) -> LoopParts:
        """Give the loop that a method runs on."""
        return self.parts if method.prompt is None else self.prompted[method.parser]

    async def aclose(self) -> None:
        """Let go of the tools of its loops."""
        for parts in (self.parts, *self.prompted.values()):
            await parts.tools.aclose()


class Asker:
    """Asks one model one question at a time, in any method's way.

    Args:
        asking: The model and all around it.
    """

    def __init__(self, asking: ModelSetup) -> None:
        self._asking = asking

    async def ask(
        self,
        method: Method,
        row: Row,
        policy: Policy,
        on_turn: Callable[[Turn], None] = tell_nobody,
    ) -> Trajectory:
        """Roll one trajectory out, unscored.

        Args:
            method: How it is to answer.
            row: The question.
            policy: The model as it is sampled for this one.
            on_turn: Told of each turn once it is answered.
        """
        asking = self._asking
        parts = asking.parts_of(method)
        given = await self._look_up(method, row)
        trajectory = await parts.loop(policy).run(
            parts.style.prompt_ids(self._messages(method, row, given)),
            uid=uid_of(row),
            question=row["extra_info"]["question"],
            gold_answers=golds_of(row),
            opening=method.opening(parts.parser),
            closing=method.closing,
            on_turn=on_turn,
        )
        trajectory.metadata |= {
            "data_source": row["data_source"],
            "knowledge": row["extra_info"].get("knowledge") or "",
            "model": asking.name,
            "method": method.name,
        }
        if question_id := row["extra_info"].get("id"):
            trajectory.metadata["id"] = question_id  # as its source calls it
        if method.given:
            trajectory.metadata["given"] = [passage.id for passage in given]
            trajectory.metadata["given_text"] = number_passages(given)
        return trajectory

    def _messages(self, method: Method, row: Row, given: Sequence[Passage]) -> list[Message]:
        question = row["extra_info"]["question"]
        if method.prompt is not None:
            text = self._fit(given) if method.given else ""
            return method.prompt.build(question, text, self._asking.with_examples)
        if self._asking.prompt is not None:
            return build_prompt(self._asking.prompt, question)
        messages: list[Message] = row["prompt"]
        return messages

    async def _look_up(self, method: Method, row: Row) -> list[Passage]:
        """Find what stands in the prompt from the start."""
        if method.given is None:
            return []
        question, top_k = row["extra_info"]["question"], self._asking.parts.top_k
        search = self._asking.retriever.search
        if method.given is Context.FOUND:
            return (await search([question], top_k))[0]
        golds = golds_of(row)
        hits = await search([question, *(f"{question} {gold}" for gold in golds[:3])], _GOLD_DEPTH)
        holding = {
            passage.id: passage
            for found in hits
            for passage in found
            if find_gold_answers(f"{passage.title} {passage.text}", golds)
        }
        return list(holding.values())[:top_k]

    def _fit(self, given: Sequence[Passage]) -> str:
        """Write passages in as many tokens as a search may give."""
        codec, cap = self._asking.parts.codec, self._asking.parts.config.max_observation_tokens

        def write(texts: list[str]) -> EncodedText:
            return EncodedText(codec.encode(texts[0]), texts[0])

        fitted = fit_observation([list(given)], write, codec, cap)
        return fitted.text if fitted else ""


class Evaluator:
    """Runs passes over questions, many trajectories at once.

    Args:
        asking: The model and all around it.
        tally: Told after each trajectory.
    """

    def __init__(self, asking: ModelSetup, tally: Tally) -> None:
        self._asking = asking
        self._asker = Asker(asking)
        self._tally = tally

    async def run(self, one: Pass, rows: Sequence[Row]) -> None:
        """Carry a pass out; a line is written as each trajectory ends, and all are sorted then."""
        one.tidy(rows)
        limit = asyncio.Semaphore(AT_ONCE)
        with one.path.open("a", encoding="utf-8", errors="replace") as file:
            async with asyncio.TaskGroup() as tasks:
                for row in one.missing(rows):
                    await limit.acquire()
                    task = tasks.create_task(self._answer(one, row, file))
                    task.add_done_callback(lambda _: limit.release())
        one.tidy(rows)

    async def _answer(self, one: Pass, row: Row, file: IO[str]) -> None:
        for _ in range(_TRIES):
            trajectory = await self._roll_out(one, row)
            if trajectory.stop_reason is not StopReason.RETRIEVER_FAILED:
                break
            await self._asking.retriever.search(["is anybody there?"], 1)  # waits, or raises
        else:
            raise DataPrepError(
                f"the retriever answers, but {_TRIES} times not to what {trajectory.uid} was "
                f"searched for: {trajectory.metadata.get('retriever_error')}. Run the same command "
                "again when it does: what was answered is kept."
            )
        trajectory.reward = score(trajectory, self._asking.rewards)
        file.write(json.dumps(trajectory.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        self._tally.add(trajectory)

    async def _roll_out(self, one: Pass, row: Row) -> Trajectory:
        seed = _seed(uid_of(row), one.decoding.seed)
        policy = self._asking.policy_at(one.decoding.temperature, seed)
        trajectory = await self._asker.ask(one.method, row, policy)
        trajectory.metadata["decoding"] = one.decoding.name
        return trajectory


def _seed(uid: str, seed: int) -> int:
    """Give each question a seed of its own, whatever order they are asked in."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{uid}".encode()).digest()[:4], "big")
