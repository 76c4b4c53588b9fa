"""Evaluate a model: ``python -m eval.run --config RUN_DIR/config.yaml --model DIR --out FOLDER``.

Every question goes through ``search_r1.loop`` as in training, with the same format, limits and
retriever, behind one vLLM engine in this process. Each method and decoding gives a file of
trajectories, ``FOLDER/NAME.METHOD.DECODING.jsonl``, in the shape that training dumps. Run again, it
goes on where it was; a question is never dropped and never asked twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_prep.rows import Row, read_rows
from data_prep.steps import DataPrepError, run_command, say
from eval.methods import DECODINGS, METHODS, Decoding, Method
from search_r1.assembly import LoopParts, assemble, form_of
from search_r1.eos_ids import eos_ids_of
from search_r1.loop import LoopConfig
from search_r1.metrics import INFRASTRUCTURE
from search_r1.progress import ProgressFile
from search_r1.prompts import build_prompt
from search_r1.rewards import RewardConfig, score
from search_r1.search_client import SearchClient, SearchClientConfig

_AT_ONCE = 64  # trajectories under way: keeps the engine full without thousands of open tasks


@dataclass(frozen=True)
class Pass:
    """One pass over the questions: who answers, how, and where the trajectories go."""

    method: Method
    decoding: Decoding
    path: Path

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Give the questions without a trajectory; a half-written last line is dropped first.

        What infrastructure ended is asked again.
        """
        if not self.path.is_file():
            return list(rows)
        kept, answered = [], set()
        for line in self.path.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record["stop_reason"] not in INFRASTRUCTURE:
                kept.append(line)
                answered.add(record["uid"])
        self.path.write_bytes(b"".join(line + b"\n" for line in kept))
        return [row for row in rows if uid_of(row) not in answered]


def uid_of(row: Row) -> str:
    """Name a question by its data source and its place in the file."""
    return f"{row['data_source']}/{row['extra_info']['index']}"


class Evaluator:
    """Runs passes over questions with one engine.

    Args:
        parts: Everything of the loop but the policy.
        policy_of: Gives the policy for a decoding.
        rewards: Weights, for the record's total.
        prompt: Prompt to put questions into; each row's own when None.
        progress: Told after each trajectory.
        name: What the model is called in the files and on the terminal.
    """

    def __init__(
        self,
        parts: LoopParts,
        policy_of: Any,
        rewards: RewardConfig,
        prompt: str | None,
        progress: ProgressFile,
        name: str,
    ) -> None:
        self._parts = parts
        self._policy_of = policy_of
        self._rewards = rewards
        self._prompt = prompt
        self._progress = progress
        self._name = name

    async def run(self, passes: Sequence[Pass], rows: Sequence[Row]) -> None:
        """Carry out every pass, one after the other; lines are written as trajectories end."""
        todo = {one.path: one.missing(rows) for one in passes}
        self._total = sum(map(len, todo.values()))
        self._done = self._searches = 0
        self._tell()
        for one in passes:
            limit = asyncio.Semaphore(_AT_ONCE)
            with one.path.open("a", encoding="utf-8", errors="replace") as file:
                await asyncio.gather(
                    *(self._answer(one, row, file, limit) for row in todo[one.path])
                )

    async def _answer(self, one: Pass, row: Row, file: Any, limit: asyncio.Semaphore) -> None:
        extra = row["extra_info"]
        messages = build_prompt(self._prompt, extra["question"]) if self._prompt else row["prompt"]
        async with limit:
            trajectory = await self._parts.loop(self._policy_of(one.decoding)).run(
                self._parts.style.prompt_ids(messages),
                uid=uid_of(row),
                question=extra["question"],
                gold_answers=list(row["reward_model"]["ground_truth"]["target"]),
                opening=one.method.opening(self._parts.parser),
            )
        trajectory.reward = score(trajectory, self._rewards)
        trajectory.metadata |= {
            "data_source": row["data_source"],
            "knowledge": extra.get("knowledge", ""),
            "model": self._name,
            "method": one.method.name,
            "decoding": one.decoding.name,
        }
        file.write(json.dumps(trajectory.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        self._done += 1
        self._searches += trajectory.num_searches
        self._tell()

    def _tell(self) -> None:
        self._progress.report("evaluate", self._done, self._total, searches=self._searches)


def take_rows(path: Path, number: int | None) -> list[Row]:
    """Read the first rows of a question file.

    Raises:
        DataPrepError: If there is no such file, or it holds fewer rows than asked for.
    """
    if not path.is_file():
        raise DataPrepError(f"there is no {path}; --questions expects a parquet file of data_prep.")
    rows = read_rows(path)
    if number is not None and len(rows) < number:
        raise DataPrepError(f"{path} has {len(rows)} questions; --number asks for {number}.")
    return rows[:number]


async def evaluate(config: Mapping[str, Any], parsed: argparse.Namespace) -> None:
    """Start the engine, run the passes, stop it."""
    section, rollout = config["search_r1"], config["actor_rollout_ref"]["rollout"]
    rows = take_rows(parsed.questions, parsed.number)
    parsed.out.mkdir(parents=True, exist_ok=True)
    passes = [
        Pass(METHODS[m], DECODINGS[d], parsed.out / f"{parsed.name}.{m}.{d}.jsonl")
        for m, d in (one.split(":") for one in parsed.method)
    ]
    if not any(one.missing(rows) for one in passes):
        return
    from transformers import AutoTokenizer  # late: with nothing to do the command ends at once

    progress = ProgressFile(section.get("run_dir"), "evaluate")
    tokenizer = AutoTokenizer.from_pretrained(str(parsed.model))
    client = SearchClient(SearchClientConfig(**section["retriever"]["client"]))
    parts = assemble(
        tokenizer,
        eos_ids_of(str(parsed.model), tokenizer),
        form_of(section),
        LoopConfig(**section["loop"]),
        client,
    )
    _check_openings(passes, parts)
    from search_r1.policies.local_vllm import LocalVllmPolicy

    policy = LocalVllmPolicy(str(parsed.model), seed=0, **engine_options(rollout))
    evaluator = Evaluator(
        parts,
        lambda decoding: policy.at(decoding.temperature),
        RewardConfig(**section["reward"]),
        parsed.prompt or section.get("prompt"),
        progress,
        parsed.name,
    )
    try:
        await evaluator.run(passes, rows)
    finally:
        policy.close()
        await parts.tools.aclose()
        await client.aclose()


def _check_openings(passes: Sequence[Pass], parts: LoopParts) -> None:
    """Refuse a method that the call format cannot force, before an engine is started."""
    for one in passes:
        try:
            one.method.opening(parts.parser)
        except ValueError as error:
            raise DataPrepError(f"--method {one.method.name} cannot be forced: {error}") from error


def engine_options(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a training config what the engine of an evaluation should have too."""
    names = ("dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")
    options = {name: rollout[name] for name in names if rollout.get(name) is not None}
    own = dict((rollout.get("engine_kwargs") or {}).get("vllm") or {})
    own.pop("worker_extension_cls", None)  # it takes weights from a trainer
    return options | {k: v for k, v in own.items() if v is not None}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--config", type=Path, required=True, help="config.yaml of a run: format, limits, retriever"
    )
    add("--model", type=Path, required=True, help="model folder")
    add("--name", default="model", help="what to call it in the files (default: model)")
    add("--questions", type=Path, required=True, help="parquet file of data_prep")
    add("--number", type=int, help="questions to take from its start (default: all)")
    add("--prompt", help="prompt to put questions into (default: the config's, else the rows')")
    add("--out", type=Path, required=True, help="folder for the trajectories")
    choices = [f"{m}:{d}" for m in METHODS for d in DECODINGS]
    add(
        "--method",
        nargs="+",
        default=["search:greedy"],
        choices=choices,
        metavar="METHOD:DECODING",
        help=f"one or several of {', '.join(choices)} (default: search:greedy)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parsed = _parse(arguments)

    def run() -> None:
        started = time.monotonic()
        config = yaml.safe_load(parsed.config.read_text(encoding="utf-8"))
        asyncio.run(evaluate(config, parsed))
        say(f"{parsed.name}: {', '.join(parsed.method)} in {time.monotonic() - started:.0f} s")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
