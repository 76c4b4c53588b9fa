"""curves.png: how a run went, on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, PercentFormatter

from search_r1.runs import layout
from search_r1.summary.comparison import compare_models
from search_r1.summary.comparison_plots import draw_matches, draw_models, draw_searching
from search_r1.summary.records import (
    Evaluation,
    Metrics,
    read_evaluations,
    read_metrics,
    training_steps,
)

Steps = dict[int, Metrics]
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2563a8", "#d97706", "#2f855a", "#b83280", "#8a94a6"
_TIME_PARTS = (
    ("generate", ("gen",), "#2563a8"),
    ("log-probs", ("old_log_prob", "ref", "values"), "#7cb5ec"),
    ("update", ("update_critic", "update_actor"), "#d97706"),
    ("weight sync", ("update_weights",), "#f2c166"),
    ("checkpoint, evaluation", ("save_checkpoint", "testing"), "#8a94a6"),
)
_STYLE: Any = {
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#556070",
    "axes.grid": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
}


def plot_curves(run_dir: Path, target: Path) -> None:
    """Draw the curves of a run into a PNG.

    Args:
        run_dir: Folder of a run with at least one training step.
        target: The PNG to write.
    """
    steps = training_steps(read_metrics(run_dir))
    evaluations = read_evaluations(run_dir)
    compared = compare_models(run_dir)
    rows = compared["rows"] if compared else {}
    seen: list[Callable[[Any], None]] = [lambda axes: _held_out(axes, evaluations)]
    if compared:
        seen = [
            lambda axes: draw_searching(axes, steps, rows),
            lambda axes: draw_matches(axes, steps, rows),
            lambda axes: draw_models(axes, rows),
        ]
    others: list[Callable[[Any], None]] = [
        lambda axes: _reward(axes, steps),
        lambda axes: _searches(axes, steps),
        lambda axes: _turns(axes, steps),
        lambda axes: _entropy(axes, steps),
        lambda axes: _time(axes, steps),
    ]
    panels = [*seen, *others]
    preset = layout.read_notes(run_dir).get("preset") or run_dir.parent.name
    title = f"{preset}, {len(steps)} steps  ({run_dir.name})"
    _draw_page(panels, 2, title, target, bars=seen[-1:] if compared else [])


def plot_when(run_dir: Path, target: Path) -> bool:
    """Draw when the model searches, and what that did to its answers, as one small picture.

    Returns:
        False, with nothing drawn, when the run compared no models.
    """
    compared = compare_models(run_dir)
    if compared is None:
        return False
    steps, rows = training_steps(read_metrics(run_dir)), compared["rows"]
    panels: list[Callable[[Any], None]] = [
        lambda axes: draw_searching(axes, steps, rows),
        lambda axes: draw_matches(axes, steps, rows),
        lambda axes: draw_models(axes, rows),
    ]
    _draw_page(panels, 1, "", target, bars=panels[-1:])
    return True


def _draw_page(
    panels: Sequence[Callable[[Any], None]],
    lines: int,
    title: str,
    target: Path,
    bars: Sequence[Callable[[Any], None]] = (),
) -> None:
    """Draw panels in so many lines; all but the bars have steps below them."""
    with plt.rc_context(_STYLE):
        columns = len(panels) // lines
        size = (4.4 * columns, 3.4 * lines)
        figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained")
        for draw, axes in zip(panels, grid.flat, strict=True):
            draw(axes)
            axes.grid(visible=False, axis="x")
            if draw not in bars:
                axes.set_xlabel("step")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title:
            figure.suptitle(title, x=0.01, ha="left", size=12)
        partial = target.with_suffix(".partial.png")
        figure.savefig(partial, dpi=130)
        plt.close(figure)
    partial.replace(target)


def _line(axes: Any, steps: Steps, key: str, label: str, color: str) -> None:
    points = [(step, metrics[key]) for step, metrics in steps.items() if key in metrics]
    if points:
        marker = "o" if len(points) <= 60 else None
        axes.plot(*zip(*points, strict=True), color=color, label=label, marker=marker)


def _percent(axes: Any) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _reward(axes: Any, steps: Steps) -> None:
    _line(axes, steps, "reward/total", "reward", _ORANGE)
    _line(axes, steps, "reward/em", "EM", _BLUE)
    axes.set_title("Training reward and exact match")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.legend()


def _held_out(axes: Any, evaluations: list[Evaluation]) -> None:
    axes.set_title("Held-out EM")
    if not evaluations:
        axes.text(0.5, 0.5, "not evaluated", transform=axes.transAxes, ha="center", color=_GREY)
        return
    x = [e.step for e in evaluations]
    y = [e.em for e in evaluations]
    bounds = [e.interval() for e in evaluations]
    below = [em - low for em, (low, _) in zip(y, bounds, strict=True)]
    above = [high - em for em, (_, high) in zip(y, bounds, strict=True)]
    axes.errorbar(x, y, yerr=[below, above], color=_GREEN, marker="o", capsize=3, elinewidth=1)
    for step, em in zip(x, y, strict=True):
        if len(x) <= 8:
            axes.annotate(f"{em:.1%}", (step, em), (6, -13), textcoords="offset points", size=8.5)
    axes.margins(x=0.12)
    axes.set_ylim(bottom=0)
    axes.set_title(f"Held-out EM, {len(evaluations[-1].em_of)} questions, 95 % interval")
    _percent(axes)


def _searches(axes: Any, steps: Steps) -> None:
    _line(axes, steps, "search/searches_per_trajectory", "searches per trajectory", _BLUE)
    _line(axes, steps, "search/no_search_rate", "share without any search", _GREY)
    axes.set_title("Searching")
    axes.set_ylim(bottom=0)
    axes.legend()


def _turns(axes: Any, steps: Steps) -> None:
    _line(axes, steps, "search/valid_turn_rate", "turns with a valid action", _GREEN)
    _line(axes, steps, "search/stop/answer", "trajectories that answer", _BLUE)
    _line(axes, steps, "search/turn_truncated_rate", "turns cut at their limit", _RED)
    axes.set_title("Form of what the model writes")
    axes.set_ylim(-0.03, 1.03)
    _percent(axes)
    axes.legend()


def _entropy(axes: Any, steps: Steps) -> None:
    _line(axes, steps, "search/sampled_entropy_nats", "entropy of sampled tokens", _ORANGE)
    axes.set_title("Entropy of sampled tokens (nats)")
    axes.set_ylim(bottom=0)


def _time(axes: Any, steps: Steps) -> None:
    """Stack the parts of each step's time; what no part explains is drawn as the rest."""
    numbers = list(steps)
    bottom = [0.0] * len(numbers)
    for label, keys, color in _TIME_PARTS:
        heights = [sum(m.get(f"timing_s/{key}", 0.0) for key in keys) for m in steps.values()]
        if any(heights):
            axes.bar(numbers, heights, bottom=bottom, label=label, color=color, width=0.85)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_title("Seconds of a step")
    axes.set_ylim(top=1.35 * max(bottom))
    axes.legend(ncols=2, loc="upper right")
