"""Keep short runs that differ from the quickstart in one thing, and put them side by side.

``python scripts/ablations.py keep RUN NAME`` keeps what a finished run measured in
docs/proof/ablations/NAME/; ``python scripts/ablations.py report`` reads them all and writes the
table of docs/proof.md and ablations.svg.
"""

import argparse
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from proof_plots import finish, save, smooth

from benchmarks.retriever.render import fill_page
from search_r1.summary.comparison_plots import COLORS
from search_r1.summary.records import read_metrics, training_steps

DOCS = Path(__file__).parents[1] / "docs"
KEPT = DOCS / "proof" / "ablations"
PAGE = DOCS / "proof.md"
_HEADS = ("", "override", "steps", "searched: known", "unknown", "unknown minus known",
          "EM: known", "unknown", "NQ, TriviaQA", "entropy")  # fmt: skip
_LAST = 3  # steps that the entropy of the end is averaged over
_WINDOW = 3  # steps that a line of the plot averages over


@dataclass(frozen=True)
class Run:
    """One kept run."""

    name: str
    summary: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]

    @property
    def overrides(self) -> str:
        """What was changed, as it was typed."""
        return shlex.join(self.summary["command"][-1][2:])

    @property
    def trained(self) -> Mapping[str, Any]:
        """The trained model's figures on held-out questions, greedy."""
        rows: Mapping[str, Mapping[str, Any]] = self.summary["evaluation"]["rows"]
        return rows["trained.search.greedy"]

    def series(self, key: str) -> list[float]:
        """Give a metric of every step that has it."""
        return [float(step[key]) for step in self.steps if key in step]


def keep(run: Path, name: str, kept: Path = KEPT) -> None:
    """Copy what a finished run measured."""
    (kept / name).mkdir(parents=True, exist_ok=True)
    for file in ("summary.json", "metrics.jsonl"):
        shutil.copyfile(run / file, kept / name / file)


def read_runs(kept: Path = KEPT) -> list[Run]:
    """Read the kept runs: the one without an override first, then by name."""
    runs = []
    for folder in sorted(path for path in kept.glob("*/") if (path / "summary.json").is_file()):
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        steps = training_steps(read_metrics(folder))
        runs.append(Run(folder.name, summary, list(steps.values())))
    return sorted(runs, key=lambda run: (run.overrides != "", run.name))


def markdown(runs: Sequence[Run]) -> str:
    """Write the table, a row a run."""
    lines = [f"| {' | '.join(_HEADS)} |", "| --- " * len(_HEADS) + "|"]
    lines += [f"| {' | '.join(_cells(run))} |" for run in runs]
    return "\n".join(lines)


def _cells(run: Run) -> list[str]:
    known, unknown, real = (run.trained[group] for group in ("known", "unknown", "real"))
    gap, ends = run.trained["gap"]["unknown_minus_known"], run.trained["gap"]["ci95"]
    entropy = np.mean(run.series("search/sampled_entropy_nats")[-_LAST:])
    return [
        f"[{run.name}](proof/ablations/{run.name}/summary.json)",
        f"`{run.overrides}`" if run.overrides else "none",
        str(run.summary["steps"]),
        *(f"{group['searched']:.0%}" for group in (known, unknown)),
        f"{100 * gap:+.0f} ({100 * ends[0]:+.0f} to {100 * ends[1]:+.0f})",
        *(f"{group['em']:.0%}" for group in (known, unknown, real)),
        f"{entropy:.2f}",
    ]


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw over steps, a panel a run, the share of known and of unknown questions searched."""
    columns = 4
    rows = -(-len(runs) // columns)
    canvas = Canvas(figsize=(10, 1.9 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes, run in zip(panels, runs, strict=False):
        for kind in ("known", "unknown"):
            values = smooth(run.series(f"knowledge/{kind}/searched"), _WINDOW)
            axes.plot(range(1, len(values) + 1), values, color=COLORS[kind], label=kind)
        axes.set_title(run.name, loc="left", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        finish(axes)
    for axes in panels[len(runs) :]:
        axes.set_axis_off()
    handles, labels = canvas.axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    save(canvas, path)


def report(kept: Path = KEPT, page: Path = PAGE) -> None:
    """Write the table into its page, and the plot."""
    runs = read_runs(kept)
    text = fill_page(page.read_text(encoding="utf-8"), {"ablations": markdown(runs)})
    page.write_text(text, encoding="utf-8")
    draw(runs, kept / "ablations.svg")


def main() -> None:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("run", type=Path)
    keeping.add_argument("name")
    commands.add_parser("report")
    parsed = parser.parse_args()
    if parsed.command == "keep":
        keep(parsed.run, parsed.name)
    report()


if __name__ == "__main__":
    main()
