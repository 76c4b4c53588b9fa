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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from data_prep.rows import check_prompt
from data_prep.steps import DataPrepError, run_command, say
from eval.answerers import Answerer, Pass
from eval.benchmarks import load_rows
from eval.engine import (
    Engine,
    LocalEngine,
    ServedEngine,
    Tokens,
    engine_options,
    open_tokens,
    parts_for,
)
from eval.evaluator import Evaluator, ModelSetup
from eval.methods import METHODS
from eval.options import answerers_of, read_options
from eval.outlook import outlook
from eval.patient import PatientClient
from eval.protocol import claim, describe_corpus, protocol_of, require_corpus
from eval.tally import Tally
from search_r1.assembly import FormatConfig, LoopParts, form_of
from search_r1.client import SearchClient, SearchClientConfig
from search_r1.loop import LoopConfig
from search_r1.rewards import RewardConfig
from search_r1.rows import Row
from search_r1.runs.progress import ProgressFile
from search_r1.tokens import HfCodec


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
        self.run_dir: str | None = section.get("run_dir")
        self.wait_s = wait_s

    def report_for(self, out: Path) -> ProgressFile | None:
        """Give the file that the run's launcher reads, where results go into that run's folder."""
        if self.run_dir and Path(self.run_dir).absolute() in out.absolute().parents:
            return ProgressFile(self.run_dir, "evaluate")
        return None


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
    tally = Tally(total, setting.report_for(out))
    local = LocalEngine(setting.engine)
    askings: dict[Answerer, ModelSetup] = {}
    engines: dict[Answerer, Engine] = {}
    try:
        for answerer, passes in todo.items():
            tokens = _tokens_of(answerer)
            engines[answerer] = await _engine_of(answerer, tokens, local, setting.wait_s)
            asking = asking_of(answerer, tokens, setting, engines[answerer], client, with_examples)
            askings[answerer] = asking
            _check_openings(passes, asking.parts)
        corpus = await describe_corpus(setting.client)
        for answerer, passes in todo.items():
            what = engines[answerer].what
            protocol = protocol_of(answerer, what, rows, corpus, setting.training)
            claim(passes, askings[answerer], protocol)
        for answerer, passes in todo.items():
            await engines[answerer].load(answerer.model)
            for one in passes:
                started = time.monotonic()
                tally.begin(f"{answerer.name} {one.method.name} {one.decoding.name}")
                await Evaluator(askings[answerer], tally).run(one, rows)
                await require_corpus(setting.client, corpus, one)
                say(f"{one.path} ({time.monotonic() - started:.0f} s)")
    except* DataPrepError as errors:
        raise _first(errors) from None
    finally:
        tally.close()
        await _close([local, *engines.values()], askings.values(), client)


async def _close(
    engines: Iterable[Engine], askings: Iterable[ModelSetup], client: SearchClient
) -> None:
    for engine in engines:
        await engine.close()
    for asking in askings:
        await asking.aclose()
    await client.aclose()


def _tokens_of(answerer: Answerer) -> Tokens:
    if answerer.url is None:
        return open_tokens(answerer.model)
    return open_tokens(answerer.tokenizer or answerer.model, "--tokenizer")


async def _engine_of(
    answerer: Answerer, tokens: Tokens, local: LocalEngine, wait_s: float
) -> Engine:
    if answerer.url is None:
        return local
    codec = HfCodec(tokens.tokenizer, tokens.eos_ids)
    engine = ServedEngine(answerer.url, answerer.model, codec, wait_s)
    await engine.check()
    return engine


def _unfinished(passes: Sequence[Pass], rows: Sequence[Row]) -> list[Pass]:
    return [one for one in passes if one.missing(rows)]


def asking_of(
    answerer: Answerer,
    tokens: Tokens,
    setting: Setting,
    engine: Engine,
    client: SearchClient,
    with_examples: bool,
) -> ModelSetup:
    """Put together how one model is asked, under a setting and over an engine.

    Raises:
        DataPrepError: If the model does not fit the setting.
    """
    own = setting.form
    prompted: dict[str, LoopParts] = {}
    for method in METHODS.values():
        if method.prompt is not None and method.parser not in prompted:
            form = FormatConfig(
                prompt_style=own.prompt_style,
                parser=method.parser or "search_tags",
                top_k=own.top_k,
            )
            limits = method.limits(setting.limits)
            prompted[method.parser] = parts_for(tokens, form, limits, client)
    return ModelSetup(
        name=answerer.name,
        parts=parts_for(tokens, own, setting.limits, client),
        prompted=prompted,
        policy_at=engine.at,
        retriever=PatientClient(client, ", ".join(setting.client.urls), setting.wait_s),
        rewards=setting.rewards,
        prompt=answerer.prompt or own.prompt,
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


def _run(parsed: argparse.Namespace) -> None:
    setting = read_setting(parsed.config, parsed.retriever, parsed.wait)
    rows = load_rows(parsed.benchmarks.split(","), parsed.number)
    answerers = answerers_of(parsed)
    for name in filter(None, (answerer.prompt for answerer in answerers)):
        check_prompt(name)
    try:
        passes = [one for answerer in answerers for one in answerer.passes(parsed.out)]
    except ValueError as error:
        raise DataPrepError(f"--method: {error}") from error
    if parsed.dry_run:
        for one in passes:
            say(outlook(one, rows, setting.limits))
        return
    asyncio.run(evaluate(setting, answerers, rows, parsed.out, parsed.examples))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parsed = read_options(__doc__, arguments)
    return run_command(lambda: _run(parsed))


if __name__ == "__main__":
    sys.exit(main())
