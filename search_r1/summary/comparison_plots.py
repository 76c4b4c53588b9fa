"""Panels of curves.png that show when a model searches, by what it knew before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.ticker import PercentFormatter

from search_r1.summary.comparison import group_name

Steps = Mapping[int, Mapping[str, Any]]
COLORS = {"known": "#2563a8", "unknown": "#d97706", "two_hop": "#9d4edd"}
"""Of the kinds of questions."""
_GROUPS = ("known", "unknown", "two_hop", "real")
_MODELS = {
    "base.search.greedy": ("before", "#c3cad5"),
    "cold_start.search.greedy": ("after cold start", "#8a94a6"),
    "trained.search_never.greedy": ("after RL, never searching", "#7cb5ec"),
    "trained.search_always.greedy": ("after RL, always searching", "#f2c166"),
    "trained.search.greedy": ("after RL, as it likes", "#2f855a"),
}


def draw_searching(axes: Any, steps: Steps, rows: Mapping[str, Any]) -> None:
    """Draw the share of questions searched: rollouts as lines, held-out questions as points."""
    _draw(axes, steps, rows, "searched")
    axes.set_title("Questions searched")


def draw_matches(axes: Any, steps: Steps, rows: Mapping[str, Any]) -> None:
    """Draw EM in the same way."""
    _draw(axes, steps, rows, "em")
    axes.set_title("Exact match")


def draw_models(axes: Any, rows: Mapping[str, Any]) -> None:
    """Draw held-out EM of every model and method as bars with 95 % intervals."""
    present = {name: style for name, style in _MODELS.items() if name in rows}
    groups = [group for group in _GROUPS if any(group in rows[name] for name in present)]
    width = 0.8 / max(1, len(present))
    for number, (name, (label, color)) in enumerate(present.items()):
        held = [(at, rows[name][group]) for at, group in enumerate(groups) if group in rows[name]]
        parts = [part for _, part in held]
        places = [at + number * width for at, _ in held]
        heights = [part["em"] for part in parts]
        axes.bar(places, heights, width=0.92 * width, color=color, label=label)
        axes.errorbar(places, heights, yerr=_errors(parts, "em"), fmt="none", ecolor="#556070",
                      elinewidth=0.9)  # fmt: skip
    middle = width * (len(present) - 1) / 2
    axes.set_xticks(
        [place + middle for place in range(len(groups))],
        [group_name(group, rows) for group in groups],
    )
    axes.set_ylim(0, 1.45)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("Held-out EM, 95 % intervals")
    axes.legend(loc="upper left", ncols=1, fontsize=7.5)


def _draw(axes: Any, steps: Steps, rows: Mapping[str, Any], what: str) -> None:
    last = max(steps)
    for knowledge, color in COLORS.items():
        key = f"knowledge/{knowledge}/{what}"
        points = [(step, metrics[key]) for step, metrics in steps.items() if key in metrics]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, label=knowledge, alpha=0.75)
        for place, name in ((0, "cold_start"), (last + 1, "trained")):
            part = rows.get(f"{name}.search.greedy", {}).get(knowledge)
            if part:
                axes.errorbar([place], [part[what]], yerr=_errors([part], what), color=color,
                              marker="o", markersize=6, capsize=3, elinewidth=1)  # fmt: skip
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if axes.get_legend_handles_labels()[0]:  # steps without labelled questions draw no line
        # Beside the title, as lines may run anywhere below it.
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=2)


def _errors(parts: list[Any], what: str) -> list[list[float]]:
    """Give the distances down and up to the ends of the intervals, as matplotlib wants them."""
    lows = [max(0.0, part[what] - part[f"{what}_ci95"][0]) for part in parts]
    return [lows, [max(0.0, part[f"{what}_ci95"][1] - part[what]) for part in parts]]
