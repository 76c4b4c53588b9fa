"""Fixtures that run the real loop with a scripted model."""

import asyncio

import pytest

from search_r1.demo import ByteCodec
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.tokens import HfCodec
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Passage, digest


class ListSearcher:
    """Answers every query with the same passages, or raises; keeps what it was asked."""

    def __init__(self, passages=(), error=None):
        self.passages = list(passages)
        self.error = error
        self.asked = []

    async def search(self, queries, top_k):
        self.asked.append((list(queries), top_k))
        if self.error is not None:
            raise self.error
        return [self.passages[:top_k] for _ in queries]


@pytest.fixture(scope="session")
def passages(tiny_passages):
    return [Passage(row["id"], row["title"], row["text"]) for row in tiny_passages]


@pytest.fixture(scope="session")
def byte_codec():
    return ByteCodec()


@pytest.fixture(scope="session")
def bpe_codec(bpe_tokenizer):
    return HfCodec(bpe_tokenizer)


@pytest.fixture(scope="session")
def codec(tokenizer):
    """Each real tokenizer in turn, as a codec."""
    return HfCodec(tokenizer)


@pytest.fixture(scope="session")
def searcher_of():
    return ListSearcher


@pytest.fixture(scope="session")
def rollout(passages):
    """Run one trajectory; gives the trajectory, the policy with its requests, and the searcher."""

    def run(
        codec,
        script,
        *,
        searcher=None,
        prompt="Question: who?\n",
        gold=(),
        parser=None,
        top_k=3,
        **limits,
    ):
        policy = ScriptedPolicy(script, codec)
        searcher = searcher or ListSearcher(passages)
        config = LoopConfig(**limits)
        tools = ToolBox([SearchTool(searcher, top_k)])
        loop = SearchLoop(policy, codec, parser or SearchTagsParser(), tools, config)
        trajectory = asyncio.run(loop.run(codec.encode(prompt), question="who?", gold_answers=gold))
        return trajectory, policy, searcher

    return run


@pytest.fixture(scope="session")
def check_exact():
    """Check token in, token out, over a whole trajectory and every request the engine got."""

    def check(trajectory, policy, codec):
        ids, mask = trajectory.response_ids, trajectory.response_mask
        assert len(ids) == len(mask) == len(trajectory.response_logprobs)
        expected_mask, position = [], 0
        for turn, request in zip(trajectory.turns, policy.requests, strict=False):
            assert turn.start == position
            assert request.context_ids == trajectory.prompt_ids + ids[: turn.start]
            assert turn.context_digest == digest(trajectory.prompt_ids + ids[: turn.start])
            end = turn.start + turn.num_ids
            assert codec.decode(ids[turn.start : end]) == turn.model_text
            position = end + turn.num_observation_ids
            assert codec.decode(ids[end:position]) == turn.observation_text
            expected_mask += [1] * turn.num_ids + [0] * turn.num_observation_ids
        assert position == len(ids)
        assert mask == expected_mask
        assert all(
            (logprob == 0.0) == (not one)
            for logprob, one in zip(trajectory.response_logprobs, mask, strict=True)
        )

    return check
