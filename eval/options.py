"""The command line of ``eval.run``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from eval.answerers import Answerer, read_plan
from eval.benchmarks import BENCHMARKS, SETS
from eval.methods import METHODS
from search_r1.policies.completions import KEY_VARIABLE

_WAIT_S = 600.0
_OF_A_PLAN = ("name", "method", "prompt", "served_model", "tokenizer")
_NAME = re.compile(r"[\w.+-]+")


def read_options(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the process on one that cannot be meant."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.run",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_who(parser)
    _add_what(parser)
    parsed = parser.parse_args(arguments)
    if parsed.plan and any(getattr(parsed, name) for name in _OF_A_PLAN):
        parser.error(
            "--plan says name, method and prompt itself; leave --name, --method, --prompt, "
            "--served-model and --tokenizer"
        )
    if bool(parsed.url) != bool(parsed.served_model):
        parser.error("--url and --served-model belong together")
    if parsed.tokenizer and not parsed.url:
        parser.error("--tokenizer belongs to --url; a model folder has its own")
    if parsed.name and not _NAME.fullmatch(parsed.name):
        parser.error(f"--name {parsed.name!r} names files; give letters, digits, and . _ - +")
    return parsed


def answerers_of(parsed: argparse.Namespace) -> list[Answerer]:
    """Give who answers: those of a plan, or the one of the command line.

    Raises:
        DataPrepError: If the plan is none.
    """
    if parsed.plan:
        return read_plan(parsed.plan)
    methods = tuple((parsed.method or "search").split(","))
    model = parsed.model or parsed.served_model
    name = parsed.name or ("served_text" if parsed.url else "model")
    return [Answerer(name, model, parsed.prompt, methods, parsed.url, parsed.tokenizer)]


def _add_who(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--model", help="model folder")
    who.add_argument(
        "--url",
        help="server of completions that has the model, up to and with /v1: text in, text out. "
        f"Its key, if it wants one, stands in the environment variable {KEY_VARIABLE}",
    )
    who.add_argument(
        "--plan", type=Path, help="JSON list of {name, model, prompt, methods}: several models"
    )
    add("--served-model", metavar="NAME", help="what the server at --url calls the model")
    add("--tokenizer", metavar="DIR",
        help="its tokenizer, folder or hub name (default: the hub's of that name)")  # fmt: skip
    add("--name", help="what to call the model in the files (default: model, or served_text)")


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--benchmarks",
        required=True,
        metavar="NAME,...",
        help=f"{', '.join(BENCHMARKS)}; sets: {', '.join(SETS)}; NAME=FILE; or files of your own",
    )
    add("--number", type=int, help="questions to take from the start of each (default: all)")
    add("--out", type=Path, required=True, help="folder for trajectories and manifests")
    words = "; ".join(f"{method.name}: {method.what}" for method in METHODS.values())
    add("--method", metavar="METHOD[:DECODING],...", help=(
        f"(default: search) {words}. Decodings: greedy (default), sampled, "
        "sampledN for seed N"))  # fmt: skip
    add("--config", type=Path, help="config.yaml of a run: format, limits, retriever, engine")
    add("--retriever", metavar="URL", help="retrieval server (default: the config's)")
    add("--prompt", help="prompt of the model's own loop (default: the config's, else the rows')")
    add("--examples", action="store_true",
        help="worked examples in the prompts of direct, cot, rag, ircot and oracle")  # fmt: skip
    add("--wait", type=float, default=_WAIT_S, metavar="SECONDS",
        help="for a server that is away (default: %(default).0f)")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be asked, and stop")
