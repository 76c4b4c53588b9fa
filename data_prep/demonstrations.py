"""Demonstrations for a cold start: ``python -m data_prep.demonstrations --config FILE --out DIR``.

Each question gets two: one that answers directly, and one that searches first. Both are
trajectories of our own loop, in the format of the run's config, with what the retriever really
finds; a script plays the model. Half of them search, whatever the question, so they teach how, and
not when; with ``is_neutral: false`` only those that search are kept.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from data_prep.rows import read_rows
from data_prep.steps import DataPrepError, run_command, say
from search_r1.answers import find_gold_answers
from search_r1.assembly import LoopParts, assemble, form_of
from search_r1.client import SearchClient, SearchClientConfig
from search_r1.cold_start import DEMONSTRATIONS, ColdStartConfig
from search_r1.eos_ids import eos_ids_of
from search_r1.errors import RetrieverError
from search_r1.loop import LoopConfig
from search_r1.parsers.base import ToolParser
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.prompts import build_prompt
from search_r1.runs.progress import ProgressFile
from search_r1.tokens import Codec
from search_r1.types import Generation, StopReason, ToolCall, Trajectory

_TOOL = "search"


class DemonstrationPolicy:
    """Plays the model: a query if there is one, then the answer in the words of what was found.

    Args:
        codec: The policy's tokenizer.
        parser: Writes the call.
        gold_answers: The one that stands in the passages is written, else the first.
        queries: What to search for, one a turn; none answers directly.
    """

    def __init__(
        self, codec: Codec, parser: ToolParser, gold_answers: Sequence[str], queries: Sequence[str]
    ) -> None:
        self._codec = codec
        self._parser = parser
        self._gold_answers = gold_answers
        self._queries = list(queries)

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Write the next turn, as an engine would return it."""
        if self._queries:
            text = self._parser.write_call(ToolCall(_TOOL, {"query": self._queries.pop(0)}))
        else:
            found = self._codec.decode(context_ids)
            answer = (find_gold_answers(found, self._gold_answers) or self._gold_answers)[0]
            text = f"<answer>{answer}</answer>"
        turn = ScriptedPolicy([text], self._codec, logprob=0.0)
        return await turn.generate(
            context_ids, max_tokens=max_tokens, stop=stop, stop_token_ids=stop_token_ids
        )


async def demonstrate(
    parts: LoopParts, row: Mapping[str, Any], prompt_name: str | None
) -> list[Trajectory] | None:
    """Make a question's two demonstrations, the direct one first.

    Returns:
        None when they would teach something wrong: a turn does not fit the limits, or the passages
        lack the answer of a question that cannot be answered without them.
    """
    extra, golds = row["extra_info"], list(row["reward_model"]["ground_truth"]["target"])
    messages = build_prompt(prompt_name, extra["question"]) if prompt_name else row["prompt"]
    prompt_ids = parts.style.prompt_ids(messages)
    pair = []
    for queries in ((), tuple(extra["queries"])):
        policy = DemonstrationPolicy(parts.codec, parts.parser, golds, queries)
        trajectory = await parts.loop(policy).run(
            prompt_ids, question=extra["question"], gold_answers=golds
        )
        if trajectory.stop_reason is StopReason.RETRIEVER_FAILED:
            reason = trajectory.metadata.get("retriever_error")
            raise DataPrepError(f"the retriever did not answer while demonstrating: {reason}")
        trajectory.uid = f"{extra['index']}_{'search' if len(queries) else 'direct'}"
        trajectory.metadata |= {
            "data_source": row["data_source"],
            "knowledge": extra.get("knowledge", ""),
        }
        is_whole = trajectory.stop_reason is StopReason.ANSWER
        if not is_whole or not all(turn.well_formed for turn in trajectory.turns):
            return None
        pair.append(trajectory)
    found = pair[1].turns[len(extra["queries"]) - 1].observation_text
    needs_passage = extra.get("knowledge") != "known"
    return None if needs_passage and not find_gold_answers(found, golds) else pair


async def make(config: Mapping[str, Any], folder: Path, progress: ProgressFile) -> int:
    """Write the demonstrations a run's config asks for; gives their number.

    Args:
        config: The run's whole config, as plain containers.
        folder: Where ``demonstrations.jsonl`` goes.
        progress: Told after every question.

    Raises:
        DataPrepError: If there are too few questions, or the retriever does not answer.
    """
    from transformers import AutoTokenizer

    section = config["search_r1"]
    wanted = ColdStartConfig(**section["cold_start"])
    model = config["actor_rollout_ref"]["model"]["path"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    form = form_of(section)
    client = SearchClient(SearchClientConfig(**section["retriever"]["client"]))
    parts = assemble(
        tokenizer, eos_ids_of(model, tokenizer), form, LoopConfig(**section["loop"]), client
    )
    try:
        parts.parser.write_call(ToolCall(_TOOL, {"query": "any"}))
    except ValueError as error:
        raise DataPrepError(str(error)) from error
    rows = [row for row in read_rows(Path(wanted.questions)) if row["extra_info"].get("queries")]
    number = wanted.num_questions if wanted.is_neutral else 2 * wanted.num_questions
    pairs: list[list[Trajectory]] = []
    try:
        for row in rows:
            if pair := await demonstrate(parts, row, form.prompt):
                pairs.append(pair)
            progress.report("demonstrations", len(pairs), number)
            if len(pairs) == number:
                break
    except RetrieverError as error:
        raise DataPrepError(f"the retriever cannot be asked: {error}") from error
    finally:
        await parts.tools.aclose()
        await client.aclose()
    if len(pairs) < number:
        raise DataPrepError(_shortage(wanted, number, len(pairs), len(rows)))
    made = [one for pair in pairs for one in (pair if wanted.is_neutral else pair[1:])]
    _write(made, folder / DEMONSTRATIONS)
    return len(made)


def _shortage(wanted: ColdStartConfig, number: int, made: int, rows: int) -> str:
    twice = "" if wanted.is_neutral else " (twice its value without is_neutral)"
    return (
        f"{wanted.questions} gives demonstrations for {made} of its questions (of {rows} with a "
        f"query), and search_r1.cold_start.num_questions asks for {number}{twice}; lower it, or "
        "make more questions."
    )


def _write(trajectories: Sequence[Trajectory], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for trajectory in trajectories:
            file.write(json.dumps(trajectory.to_json(), ensure_ascii=False) + "\n")
    partial.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.demonstrations", description=__doc__)
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        required=True,
        help="what --dry-run prints of a preset with a cold start",
    )
    add("--out", type=Path, required=True, help="folder that gets demonstrations.jsonl")
    parsed = parser.parse_args(arguments)

    def run() -> None:
        config = yaml.safe_load(parsed.config.read_text(encoding="utf-8"))
        if not (config.get("search_r1") or {}).get("cold_start"):
            raise DataPrepError(
                f"{parsed.config} has no search_r1.cold_start section, which says how many "
                "demonstrations to make of which questions; docs/training.md shows one."
            )
        progress = ProgressFile(config["search_r1"].get("run_dir"), "demonstrations")
        number = asyncio.run(make(config, parsed.out, progress))
        is_neutral = ColdStartConfig(**config["search_r1"]["cold_start"]).is_neutral
        share = "half of them" if is_neutral else "all of them"
        say(f"{number} demonstrations in {parsed.out / DEMONSTRATIONS}, {share} searching")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
