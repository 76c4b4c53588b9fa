"""Ask a model and watch it search: ``python -m eval.chat --model RUN_OR_MODEL``.

The question goes through ``search_r1.loop`` as in training, behind one vLLM in this process, in the
format, prompt and limits of the run. The page shows thoughts, searches and passages as they come,
on this machine only; ``--terminal`` does the same without a browser. Of several models one is
loaded at a time.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.rows import check_prompt
from data_prep.steps import run_command, say
from eval.chat.app import make_chat
from eval.chat.models import Models, read_choices
from eval.chat.session import Session
from eval.chat.terminal import Terminal
from eval.web.server import listen, run_until_left, serve, url_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.chat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", action="append", required=True, metavar="MODEL",
        help="folder of a run (runs/PRESET/TIMESTAMP), whose last model is asked; or of a model; "
        "or a name on a hub. Give it again for another model to choose from")  # fmt: skip
    add("--config", type=Path, help="config.yaml of a run, for models that are in none")
    add("--retriever", metavar="URL", help="retrieval server (default: the config's)")
    add("--prompt", help="prompt to put questions into (default: the run's, else search_r1)")
    add("--terminal", action="store_true", help="chat here, without a browser")
    add("--port", type=int, default=8003, help="of the page; 0: a free one; default: 8003")
    parsed = parser.parse_args(arguments)
    return run_command(lambda: _run(parsed))


def _run(parsed: argparse.Namespace) -> None:
    if parsed.prompt:
        check_prompt(parsed.prompt)
    choices = read_choices(parsed.model, parsed.config, parsed.retriever)
    models = Models(choices, parsed.prompt)
    listener = None if parsed.terminal else listen(parsed.port)
    run_until_left(_chat(models, Session(parsed.model, models.load), listener))


async def _chat(models: Models, session: Session, listener: socket.socket | None) -> None:
    try:
        await models.check()
        if listener is None:
            has_color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            await Terminal(session, sys.stdout, has_color).run(sys.stdin)
            return
        say(f"{url_of(listener)}  (Ctrl-C stops it; the first question loads the model)")
        await serve(make_chat(session), listener)
    finally:
        await models.aclose()


if __name__ == "__main__":
    sys.exit(main())
