"""Write results for others' tools: ``python -m eval.export RESULTS... --to FORMAT --out DIR``.

``inspect`` are logs for Inspect's viewer, ``trec`` run files of what was read, ``browsecomp`` run
files for BrowseComp-Plus' evaluation script, ``tensorboard`` the figures as scalars.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from data_prep.steps import run_command, say
from eval.exports import browsecomp, inspect_log, tensorboard, trec
from eval.measures import Result, read_results

FORMATS: dict[str, Callable[[Result, Path], list[Path]]] = {
    "inspect": inspect_log.write,
    "trec": trec.write,
    "browsecomp": browsecomp.write,
    "tensorboard": tensorboard.write,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", help="folders or files of eval.run")
    add("--to", required=True, choices=list(FORMATS), help="whose format")
    add("--out", type=Path, required=True, help="folder for the files")
    parsed = parser.parse_args(arguments)

    def run() -> None:
        results = read_results(parsed.results)
        parsed.out.mkdir(parents=True, exist_ok=True)
        for result in results:
            paths = FORMATS[parsed.to](result, parsed.out)
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            say(f"{result.name}: {paths[0] if paths else 'nothing'}{more}")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
