"""Put the figures of the JSON file into the docs: ``python -m benchmarks.retriever.render``.

Text between ``<!-- bench: PART -->`` and ``<!-- end of bench -->`` is replaced by the part's table.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.retriever.sizing_table import make_sizing_table
from benchmarks.retriever.tables import make_tables
from retriever.evaluate.plot import plot_frontier

_PICTURE = "![Recall over latency, speed and memory](benchmarks/retriever-frontier.png)"
_BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end of bench -->)", re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the page and the plot; 0 when done, 2 with one line on stderr when not."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retriever.render", description=__doc__
    )
    parser.add_argument("--figures", type=Path, default=Path("docs/benchmarks/retriever.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/retriever-benchmarks.md"))
    parser.add_argument("--plot", type=Path, default=Path("docs/benchmarks/retriever-frontier.png"))
    parsed = parser.parse_args(arguments)
    try:
        has_figures = parsed.figures.is_file()
        report = json.loads(parsed.figures.read_text(encoding="utf-8")) if has_figures else {}
        page = parsed.page.read_text(encoding="utf-8")
        parsed.page.write_text(fill_page(page, all_tables(report)), encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if "frontier" in report:
        plot_frontier(report["frontier"]["rows"], parsed.plot)
    return 0


def all_tables(report: dict[str, Any]) -> dict[str, str]:
    """Give the tables of the measured parts, and the computed one."""
    tables = make_tables(report) | {"sizing": make_sizing_table()}
    if "frontier" in tables:
        tables["frontier"] = f"{_PICTURE}\n\n{tables['frontier']}"
    return tables


def fill_page(page: str, tables: dict[str, str]) -> str:
    """Replace every marked block by its table.

    Args:
        page: Markdown with marked blocks.
        tables: Part to Markdown; a block without one says how to get it.
    """

    def fill(block: re.Match[str]) -> str:
        part = block[2]
        missing = f"No figures yet: run `python -m benchmarks.retriever {part}`."
        return f"{block[1]}{tables.get(part, missing)}\n{block[3]}"

    return _BLOCK.sub(fill, page)


if __name__ == "__main__":
    sys.exit(main())
