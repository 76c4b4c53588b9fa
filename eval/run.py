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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from data_prep.rows import Row, read_rows
from data_prep.steps import DataPrepError, run_command, say
from eval.answerers import Answerer, Pass, read_plan, uid_of
from eval.engine import Engine, engine_options, parts_for
from eval.methods import DECODINGS, METHODS
from search_r1.assembly import LoopParts
from search_r1.model_folder import require_model
from search_r1.policies import Policy
from search_r1.progress import ProgressFile
from search_r1.prompts import build_prompt
from search_r1.rewards import RewardConfig, score
from search_r1.search_client import SearchClient, SearchClientConfig
from search_r1.types import StopReason, Trajectory

_AT_ONCE = 64  # trajectories under way: keeps the engine full without thousands of open tasks


class Tally:
    """Counts trajectories over all models and methods, and tells who waits.

    Args:
        progress: Where it is told.
        total: Trajectories there will be.
    """

    def __init__(self, progress: ProgressFile, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = self._searches = 0
        self.add(None)

    def add(self, searches: int | None) -> None:
        """Count a trajectory with so many searches; None counts nothing and tells."""
        self._done += searches is not None
        self._searches += searches or 0
        self._progress.report("evaluate", self._done, self._total, searches=self._searches)


class Evaluator:
    """Runs passes over questions with one engine.

    Args:
        parts: Everything of the loop but the policy.
        policy_at: Gives the policy at a temperature.
        rewards: Weights, for the record's total.
        prompt: Prompt to put questions into; each row's own when None.
        tally: Told after each trajectory.
        name: What the model is called in the files and on the terminal.
    """

    def __init__(
        self,
        parts: LoopParts,
        policy_at: Callable[[float], Policy],
        rewards: RewardConfig,
        prompt: str | None,
        tally: Tally,
        name: str,
    ) -> None:
        self._parts = parts
        self._policy_at = policy_at
        self._rewards = rewards
        self._prompt = prompt
        self._tally = tally
        self._name = name
        self._lost: list[Trajectory] = []

    async def run(self, passes: Sequence[Pass], rows: Sequence[Row]) -> None:
        """Carry out every pass, one after the other; lines are written as trajectories end.

        Raises:
            DataPrepError: If the retriever failed for good; no further question is begun then.
        """
        for one in passes:
            missing = one.missing(rows)
            limit = asyncio.Semaphore(_AT_ONCE)
            with one.path.open("a", encoding="utf-8", errors="replace") as file:
                await asyncio.gather(*(self._answer(one, row, file, limit) for row in missing))
            if self._lost:
                raise DataPrepError(
                    f"the retriever failed on {len(self._lost)} questions, and {one.path} lacks "
                    f"{len(one.missing(rows))} of {len(rows)}: "
                    f"{self._lost[0].metadata.get('retriever_error')}. Run the same command again "
                    "when it works: it goes on where it was."
                )

    async def _answer(self, one: Pass, row: Row, file: Any, limit: asyncio.Semaphore) -> None:
        extra = row["extra_info"]
        messages = build_prompt(self._prompt, extra["question"]) if self._prompt else row["prompt"]
        async with limit:
            if self._lost:  # the client has tried to its deadline: others would wait for nothing
                return
            policy = self._policy_at(one.decoding.temperature)
            trajectory = await self._parts.loop(policy).run(
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
            "weights": one.model,
            "prompt": one.prompt,
            "method": one.method.name,
            "decoding": one.decoding.name,
        }
        file.write(json.dumps(trajectory.to_json(), ensure_ascii=False) + "\n")
        file.flush()
        if trajectory.stop_reason is StopReason.RETRIEVER_FAILED:
            self._lost.append(trajectory)
        self._tally.add(trajectory.num_searches)


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


async def evaluate(
    config: Mapping[str, Any], answerers: Sequence[Answerer], rows: Sequence[Row], out: Path
) -> None:
    """Start an engine, let every model answer, stop it.

    Models of one shape take turns in one engine, which is quicker than starting it again.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = {one: sum(len(p.missing(rows)) for p in one.passes(out)) for one in answerers}
    todo = [one for one in answerers if missing[one]]
    if not todo:
        return
    section = config["search_r1"]
    for one in todo:
        _require_model(one)
    tally = Tally(ProgressFile(section.get("run_dir"), "evaluate"), sum(missing.values()))
    client = SearchClient(SearchClientConfig(**section["retriever"]["client"]))
    parts_of = {one.name: parts_for(one.model, section, client) for one in todo}
    for one in todo:
        _check_openings(one.passes(out), parts_of[one.name])
    rewards = RewardConfig(**section["reward"])
    engine = Engine(engine_options(config["actor_rollout_ref"]["rollout"]))
    try:
        for one in todo:
            started = time.monotonic()
            policy = await engine.with_model(one.model)
            prompt = one.prompt or section.get("prompt")
            evaluator = Evaluator(parts_of[one.name], policy.at, rewards, prompt, tally, one.name)
            await evaluator.run(one.passes(out), rows)
            say(f"{one.name}: {', '.join(one.methods)} in {time.monotonic() - started:.0f} s")
    finally:
        engine.close()
        for parts in parts_of.values():
            await parts.tools.aclose()
        await client.aclose()


def _require_model(one: Answerer) -> None:
    try:
        require_model(one.model, f"--model of {one.name}")
    except ValueError as error:
        raise DataPrepError(str(error)) from error


def _check_openings(passes: Sequence[Pass], parts: LoopParts) -> None:
    """Refuse a method that the call format cannot force, before an engine is started."""
    for one in passes:
        try:
            one.method.opening(parts.parser)
        except ValueError as error:
            raise DataPrepError(f"--method {one.method.name} cannot be forced: {error}") from error


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
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--model", help="model folder")
    who.add_argument(
        "--plan", type=Path, help="JSON list of {name, model, prompt, methods}: several models"
    )
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
        config = yaml.safe_load(parsed.config.read_text(encoding="utf-8"))
        rows = take_rows(parsed.questions, parsed.number)
        answerers = [Answerer(parsed.name, parsed.model, parsed.prompt, tuple(parsed.method))]
        if parsed.plan:
            answerers = read_plan(parsed.plan)
        asyncio.run(evaluate(config, answerers, rows, parsed.out))

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
