"""Look at trajectories in a browser: ``python -m eval.view RUN...``.

RUN is a folder of eval.run's results, one of its .jsonl files (or .jsonl.gz), or a training run
(runs/PRESET/TIMESTAMP). 'RUN#NAME/UID' opens one trajectory, as reports write it. Files are read
where they lie and may still grow; the page is served on this machine only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from data_prep.steps import DataPrepError, run_command, say
from eval.view.app import make_viewer
from eval.view.collection import Shelf
from eval.view.places import find_places, unpack
from eval.view.tokens import open_tokenizer
from eval.web.server import listen, run_until_left, serve, url_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.view",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="what to look at")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="DIR",
        help="folder with the model's tokenizer.json, to show tokens (default: the model that the "
        "result or the run names)",
    )
    parser.add_argument("--port", type=int, default=8002, help="0: a free one; default: 8002")
    parsed = parser.parse_args(arguments)
    return run_command(lambda: _run(parsed.runs, parsed.tokenizer, parsed.port))


def _run(runs: Sequence[str], tokenizer: Path | None, port: int) -> None:
    parts = [(run, "") if Path(run).exists() else _cut_fragment(run) for run in runs]
    fragment = next((f"#{fragment}" for _, fragment in parts if fragment), "")
    file = _tokenizer_in(tokenizer) if tokenizer else None
    with TemporaryDirectory(prefix="view-") as unpacked:
        shelf = Shelf(find_places([unpack(Path(path), Path(unpacked)) for path, _ in parts]))
        listener = listen(port)
        shelf.start()
        say(f"{url_of(listener)}{fragment}  (Ctrl-C stops it)")
        try:
            run_until_left(serve(make_viewer(shelf, file), listener))
        finally:
            shelf.stop()


def _cut_fragment(run: str) -> tuple[str, str]:
    path, _, fragment = run.partition("#")
    return path, fragment


def _tokenizer_in(folder: Path) -> Path:
    path = folder if folder.is_file() else folder / "tokenizer.json"
    if not path.is_file():
        raise DataPrepError(
            f"--tokenizer: there is no {path}; expected the folder of a saved model or tokenizer, "
            "with a tokenizer.json."
        )
    try:
        open_tokenizer(path)
    except ValueError as error:
        raise DataPrepError(f"--tokenizer: {error}") from error
    return path


if __name__ == "__main__":
    sys.exit(main())
