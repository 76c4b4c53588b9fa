"""The plots of the proof: when it searches and how often it is right, over steps and in the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter
from proof_figures import COLUMNS, Figures

from search_r1.metrics import KNOWLEDGE
from search_r1.summary.comparison_plots import COLORS

_WORDS = {"known": "it knows", "unknown": "takes one search", "two_hop": "takes two searches"}
_MODELS = {
    "base.search.greedy": ("base", "#c3cad5"),
    "cold_start.search.greedy": ("after the cold start", "#8a94a6"),
    "trained.search_never.greedy": ("after RL, never searching", "#7cb5ec"),
    "trained.search_always.greedy": ("after RL, always searching", "#f2c166"),
    "trained.search.greedy": ("after RL", "#2f855a"),
}
_WINDOW = 5  # steps that a line averages over
_FIXED: Any = {"svg.hashsalt": "proof", "font.size": 9}


def draw_steps(figures: Figures, path: Path) -> None:
    """Draw share searched and EM of the rollouts over steps: a line per kind, a band of seeds."""
    canvas = Canvas(figsize=(9, 3.2), layout="constrained")
    left, right = canvas.subplots(1, 2)
    for axes, what, title in (
        (left, "searched", "Questions it searches"),
        (right, "em", "Questions it answers exactly"),
    ):
        for kind in KNOWLEDGE:
            _draw_kind(axes, figures, kind, what)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("step of reinforcement learning")
    left.legend(frameon=False, loc="center right")
    save(canvas, path)


def draw_table(figures: Figures, path: Path) -> None:
    """Draw held-out EM of each model on each kind of question, with 95 % intervals."""
    canvas = Canvas(figsize=(9, 3.2), layout="constrained")
    axes = canvas.subplots()
    width = 0.8 / len(_MODELS)
    for number, (name, (label, color)) in enumerate(_MODELS.items()):
        cells = [figures.table[name][f"em_{group}"] for group in COLUMNS]
        heights = [cell["mean"] for cell in cells]
        ends = [[cell["mean"] - cell["low"] for cell in cells],
                [cell["high"] - cell["mean"] for cell in cells]]  # fmt: skip
        places = [at + (number - 2) * width for at in range(len(COLUMNS))]
        axes.bar(places, heights, 0.92 * width, color=color, label=label, yerr=ends,
                 error_kw={"lw": 0.9, "ecolor": "#556070"})  # fmt: skip
    axes.set_xticks(range(len(COLUMNS)), COLUMNS.values())
    axes.set_title("Held-out EM, 95 % intervals over questions", loc="left", fontweight="bold")
    axes.legend(frameon=False, ncols=len(_MODELS), fontsize=8, loc="upper center",
                bbox_to_anchor=(0.5, -0.1))  # fmt: skip
    finish(axes)
    save(canvas, path)


def _draw_kind(axes: Any, figures: Figures, kind: str, what: str) -> None:
    lines = []
    for seed in figures.seeds:
        values = [step.get(f"knowledge/{kind}/{what}", np.nan) for step in seed.steps.values()]
        lines.append(smooth(values, _WINDOW))
    length = min(map(len, lines))
    values_of = np.array([line[:length] for line in lines])  # (seeds, steps)
    steps = np.arange(1, length + 1)
    axes.plot(steps, values_of.mean(axis=0), color=COLORS[kind], label=_WORDS[kind], lw=2)
    axes.fill_between(steps, values_of.min(axis=0), values_of.max(axis=0), color=COLORS[kind],
                      alpha=0.18, lw=0)  # fmt: skip
    finish(axes)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Average each value with those before it, ``window`` in all; what is missing is left out."""
    ends = range(1, len(values) + 1)
    return [float(np.nanmean(values[max(0, end - window) : end])) for end in ends]


def finish(axes: Any) -> None:
    """Give a panel of shares its scale and take away its frame."""
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="#dde1e7", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(canvas: Canvas, path: Path) -> None:
    """Write an SVG that is the same whenever it is drawn from the same figures."""
    import matplotlib

    with matplotlib.rc_context(_FIXED):
        canvas.savefig(path, facecolor="white", metadata={"Date": None})
