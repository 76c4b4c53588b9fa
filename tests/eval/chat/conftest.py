"""A session over a scripted policy that tells of its ids one by one, as an engine does."""

import asyncio

import pytest

from eval.chat.session import ReadyModel, Session
from eval.evaluator import ModelSetup
from search_r1.rewards import RewardConfig


class StreamingPolicy:
    """Samples what another policy does, id by id; waits at the first one while ``gate`` is shut."""

    def __init__(self, policy, on_ids, gate):
        self._policy, self._on_ids, self._gate = policy, on_ids, gate

    async def generate(self, context_ids, **options):
        generation = await self._policy.generate(context_ids, **options)
        for length in range(1, len(generation.ids) + 1):
            self._on_ids(generation.ids[:length])
            while self._gate["is_shut"]:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
        return generation


@pytest.fixture
def gate():
    return {"is_shut": False, "loads": []}


@pytest.fixture
def session(parts, parts_of, policy, searcher, gate):
    """Two names for one scripted model; the second cannot be loaded."""
    asking = ModelSetup(
        name="tiny",
        parts=parts,
        prompted={"": parts_of(max_calls=0)},
        policy_at=policy.at,
        retriever=searcher,
        rewards=RewardConfig(),
        prompt="bare",
        with_examples=False,
    )

    async def load(name):
        gate["loads"].append(name)
        if name != "tiny":
            raise ValueError(f"{name} has another shape")
        return ReadyModel(asking, lambda _t, _s, on_ids: StreamingPolicy(policy, on_ids, gate))

    return Session(["tiny", "broken"], load)
