"""Draw the frontier: ``python -m retriever.evaluate.plot F.json F.png``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PANELS = (
    ("search_ms", None, "one query without its encoding, median ms"),
    ("queries_per_s", "64", "queries/s in batches of 64"),
    ("index_mb", None, "index, MB (text not counted)"),
)


def plot_frontier(rows: Sequence[dict[str, Any]], file: Path, top_k: int = 3) -> None:
    """Draw recall, or answer recall where there is none, over latency, speed and memory.

    Args:
        rows: As ``retriever.evaluate`` writes them.
        file: PNG, SVG or PDF, by its name.
        top_k: Depth of the recall drawn.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    measure = "recall" if all("recall" in row for row in rows) else "answer_recall"
    figure, axes = pyplot.subplots(1, len(_PANELS), figsize=(14, 4), sharey=True)
    for axis, (name, key, label) in zip(axes, _PANELS, strict=True):
        for index in dict.fromkeys(row["index"] for row in rows):
            own = [row for row in rows if row["index"] == index]
            points = sorted((_value(row, name, key), row[measure][str(top_k)]) for row in own)
            xs, ys = zip(*points, strict=True)
            axis.plot(xs, ys, marker="o", linestyle="-" if len(own) > 1 else "", label=index)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"{measure.replace('_', ' ')}@{top_k}")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None} if file.suffix == ".png" else None)
    pyplot.close(figure)


def _value(row: dict[str, Any], name: str, key: str | None) -> float:
    value = row[name] if key is None else row[name].get(key, next(iter(row[name].values())))
    return float(value)


def main(arguments: list[str] | None = None) -> None:
    """Draw the rows of a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m retriever.evaluate.plot", description=__doc__)
    parser.add_argument("rows", type=Path, help="file that retriever.evaluate wrote")
    parser.add_argument("image", type=Path, help="PNG, SVG or PDF to write")
    parser.add_argument("--topk", type=int, default=3, help="depth of the recall (default: 3)")
    parsed = parser.parse_args(arguments)
    rows = json.loads(parsed.rows.read_text(encoding="utf-8"))["rows"]
    plot_frontier(rows, parsed.image, parsed.topk)


if __name__ == "__main__":
    main()
