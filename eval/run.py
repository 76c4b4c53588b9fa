"""Evaluate a model: ``python -m eval.run --model DIR --benchmarks nq,triviaqa --out FOLDER``.

Every question goes through ``search_r1.loop`` as in training, with the format, limits and retriever
of ``--config``, behind one vLLM engine in this process. Each method and decoding gives a file of
trajectories, ``FOLDER/NAME.METHOD.DECODING.jsonl``, in the shape that training dumps, and beside it
a manifest of what it is a result of. Run again, it goes on where it was; a question is never
dropped and never asked twice. ``eval.report`` and ``eval.compare`` read the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from data_prep.rows import check_prompt
from data_prep.steps import DataPrepError, run_command, say
from eval.answerers import Answerer, Pass, read_plan
from eval.benchmarks import BENCHMARKS, SETS, load_rows
from eval.engine import Engine, engine_options, parts_for
from eval.evaluator import Asking, Evaluator
from eval.methods import METHODS
from eval.patient import PatientClient
from eval.protocol import claim, describe_corpus, protocol_of
from eval.tally import Tally
from search_r1.assembly import FormatConfig, LoopParts, form_of
from search_r1.loop import LoopConfig
from search_r1.progress import ProgressFile
from search_r1.rewards import RewardConfig
from search_r1.rows import Row
from search_r1.search_client import SearchClient, SearchClientConfig

_WAIT_S = 600.0


class Setting:
    """The config an evaluation follows, taken apart.

    Args:
        config: A run's config.yaml, or ``{}`` for the defaults.
        url: The retrieval server instead of the config's; None takes that.
        wait_s: Seconds to wait for a retrieval server that is away.
    """

    def __init__(self, config: Mapping[str, Any], url: str | None, wait_s: float) -> None:
        section = config.get("search_r1") or {}
        self.form: FormatConfig = form_of(section)
        self.limits = LoopConfig(**(section.get("loop") or {}))
        self.rewards = RewardConfig(**(section.get("reward") or {}))
        retriever = section.get("retriever") or {}
        client = SearchClientConfig(**(retriever.get("client") or {}))
        self.client = replace(client, url=url) if url else client
        self.engine = engine_options((config.get("actor_rollout_ref") or {}).get("rollout") or {})
        self.training: list[str] = _as_list((config.get("data") or {}).get("train_files"))
        run_dir = section.get("run_dir")
        self.report = ProgressFile(run_dir, "evaluate") if run_dir else None
        self.wait_s = wait_s


def read_setting(path: Path | None, url: str | None, wait_s: float) -> Setting:
    """Read a run's config.yaml; the defaults without one.

    Raises:
        DataPrepError: If it is no config, or a value in it cannot be used.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
        return Setting(config, url, wait_s)
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise DataPrepError(
            f"{path or 'the default config'} cannot be used: {error}. --config expects the "
            "config.yaml that a run's folder holds."
        ) from error


async def evaluate(
    setting: Setting,
    answerers: Sequence[Answerer],
    rows: Sequence[Row],
    out: Path,
    with_examples: bool = False,
) -> None:
    """Start an engine, let every model answer, stop it.

    Models of one shape take turns in one engine, which is quicker than starting it again.

    Raises:
        DataPrepError: If a model, the retrieval server or an earlier result does not fit.
    """
    out.mkdir(parents=True, exist_ok=True)
    todo = {one: passes for one in answerers if (passes := _unfinished(one.passes(out), rows))}
    if not todo:
        return say("nothing is missing")
    client = SearchClient(setting.client)
    total = sum(len(one.missing(rows)) for passes in todo.values() for one in passes)
    tally = Tally(total, setting.report)
    engine = Engine(setting.engine)
    askings: dict[Answerer, Asking] = {}
    try:
        for answerer, passes in todo.items():
            asking = asking_of(answerer, setting, engine, client, with_examples)
            askings[answerer] = asking
            _check_openings(passes, asking.parts)
        corpus = await describe_corpus(setting.client)
        for answerer, passes in todo.items():
            protocol = protocol_of(answerer, rows, corpus, setting.training)
            claim(passes, askings[answerer], protocol)
        for answerer, passes in todo.items():
            await engine.load(answerer.model)
            for one in passes:
                started = time.monotonic()
                tally.begin(f"{answerer.name} {one.method.name} {one.decoding.name}")
                await Evaluator(askings[answerer], tally).run(one, rows)
                say(f"{one.path} ({time.monotonic() - started:.0f} s)")
    except* DataPrepError as errors:
        raise _first(errors) from None
    finally:
        tally.close()
        engine.close()
        for asking in askings.values():
            await asking.parts.tools.aclose()
            await asking.reader_parts.tools.aclose()
        await client.aclose()


def _unfinished(passes: Sequence[Pass], rows: Sequence[Row]) -> list[Pass]:
    return [one for one in passes if one.missing(rows)]


def asking_of(
    answerer: Answerer,
    setting: Setting,
    engine: Engine,
    client: SearchClient,
    with_examples: bool,
) -> Asking:
    """Put together how one model is asked, under a setting and over an engine.

    Raises:
        DataPrepError: If the model does not fit the setting.
    """
    prompt = answerer.prompt or setting.form.prompt
    reading = FormatConfig(prompt_style=setting.form.prompt_style, parser="search_tags")
    own_limits = setting.limits
    reader_limits = METHODS["direct"].limits(own_limits)
    return Asking(
        name=answerer.name,
        parts=parts_for(answerer.model, setting.form, own_limits, client),
        reader_parts=parts_for(answerer.model, reading, reader_limits, client),
        policy_at=engine.at,
        retriever=PatientClient(client, ", ".join(setting.client.urls), setting.wait_s),
        rewards=setting.rewards,
        prompt=prompt,
        with_examples=with_examples,
    )


def _check_openings(passes: Sequence[Pass], parts: LoopParts) -> None:
    """Refuse a method that the call format cannot force, before an engine is started."""
    for one in passes:
        try:
            one.method.opening(parts.parser)
        except ValueError as error:
            raise DataPrepError(f"--method {one.method.name} cannot be forced: {error}") from error


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Give the error that a person should read, out of those that ended all tasks."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _as_list(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--model", help="model folder")
    who.add_argument(
        "--plan", type=Path, help="JSON list of {name, model, prompt, methods}: several models"
    )
    add(
        "--benchmarks",
        required=True,
        metavar="NAME,...",
        help=f"{', '.join(BENCHMARKS)}; sets: {', '.join(SETS)}; NAME=FILE; or files of your own",
    )
    add("--number", type=int, help="questions to take from the start of each (default: all)")
    add("--out", type=Path, required=True, help="folder for trajectories and manifests")
    add("--name", help="what to call the model in the files (default: model)")
    words = "; ".join(f"{method.name}: {method.what}" for method in METHODS.values())
    add("--method", metavar="METHOD[:DECODING],...", help=(
        f"(default: search) {words}. Decodings: greedy (default), sampled, "
        "sampledN for seed N"))  # fmt: skip
    add("--config", type=Path, help="config.yaml of a run: format, limits, retriever, engine")
    add("--retriever", metavar="URL", help="retrieval server (default: the config's)")
    add("--prompt", help="prompt of the model's own loop (default: the config's, else the rows')")
    add("--examples", action="store_true",
        help="worked examples in the prompts of direct, cot, rag and oracle")  # fmt: skip
    add("--wait", type=float, default=_WAIT_S, metavar="SECONDS",
        help="for a retrieval server that is away (default: %(default).0f)")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be asked, and stop")
    parsed = parser.parse_args(arguments)
    if parsed.plan and (parsed.name or parsed.method or parsed.prompt):
        parser.error("--plan says name, method and prompt itself; leave --name, --method, --prompt")
    return parsed


def _run(parsed: argparse.Namespace) -> None:
    setting = read_setting(parsed.config, parsed.retriever, parsed.wait)
    rows = load_rows(parsed.benchmarks.split(","), parsed.number)
    if parsed.plan:
        answerers = read_plan(parsed.plan)
    else:
        methods = tuple((parsed.method or "search").split(","))
        answerers = [Answerer(parsed.name or "model", parsed.model, parsed.prompt, methods)]
    for name in filter(None, (answerer.prompt for answerer in answerers)):
        check_prompt(name)
    try:
        passes = [one for answerer in answerers for one in answerer.passes(parsed.out)]
    except ValueError as error:
        raise DataPrepError(f"--method: {error}") from error
    if parsed.dry_run:
        for one in passes:
            say(f"{one.path}: {len(one.missing(rows))} of {len(rows)} questions to ask")
        return
    asyncio.run(evaluate(setting, answerers, rows, parsed.out, parsed.examples))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parsed = _parse(arguments)
    return run_command(lambda: _run(parsed))


if __name__ == "__main__":
    sys.exit(main())
