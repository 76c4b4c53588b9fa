"""The plots of a report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from eval.measures import ALL, Figure, Result
from eval.training import CURVES, Training

_MARKED = 60  # steps, up to which each is a dot
_Figures = Mapping[str, Mapping[str, Mapping[str, Figure]]]


def plot_scores(results: Sequence[Result], found: _Figures, groups: Sequence[str]) -> str:
    """Draw EM of every result on every group of questions, with intervals."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(max(7, 1.6 * len(groups)), 3.6), layout="constrained")
    axes = canvas.subplots()
    width = 0.8 / len(results)
    for n, result in enumerate(results):
        ones = [(i, found[result.name][g].get("em")) for i, g in enumerate(groups)]
        kept = [(i, one) for i, one in ones if one is not None]
        axes.bar(
            [i + (n - (len(results) - 1) / 2) * width for i, _ in kept],
            [100 * one.value for _, one in kept],
            width,
            yerr=[
                [100 * (one.value - one.low) for _, one in kept],
                [100 * (one.high - one.value) for _, one in kept],
            ],
            error_kw={"lw": 1, "ecolor": "#555"},
            label=result.name,
        )
    axes.set_xticks(range(len(groups)), groups, rotation=20 if len(groups) > 5 else 0)
    axes.set_ylabel("EM, % (95 % intervals)")
    axes.set_ylim(0, min(100, axes.get_ylim()[1]))
    _finish(axes)
    return _svg(canvas)


def plot_searches(results: Sequence[Result], found: _Figures) -> str:
    """Draw EM against searches per question: up and to the left is better."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7, 3.6), layout="constrained")
    axes = canvas.subplots()
    for result in results:
        em, searches = found[result.name][ALL]["em"], found[result.name][ALL]["searches"]
        axes.errorbar(
            searches.value,
            100 * em.value,
            yerr=[[100 * (em.value - em.low)], [100 * (em.high - em.value)]],
            fmt="o",
            capsize=3,
            label=result.name,
        )
    axes.set_xlabel("searches per question")
    axes.set_ylabel("EM, %")
    axes.set_ylim(0, min(100, axes.get_ylim()[1]))
    _finish(axes)
    return _svg(canvas)


def plot_training(trainings: Sequence[Training]) -> str:
    """Draw the metrics of runs over their steps, a panel each."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(figsize=(4 * len(CURVES), 3.2), layout="constrained")
    lines: dict[int, Any] = {}
    for axes, (key, words) in zip(canvas.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for n, one in enumerate(trainings):
            if points := one.points(key):
                dots = {"marker": "o", "markersize": 3} if len(points) <= _MARKED else {}
                (lines[n],) = axes.plot(*zip(*points, strict=True), color=f"C{n}", **dots)
        axes.set_title(words, fontsize=10)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        _grid(axes)
    names = [trainings[n].name for n in lines]
    canvas.legend(list(lines.values()), names, fontsize=8, loc="outside lower center")
    return _svg(canvas)


def _finish(axes: Any) -> None:
    _grid(axes)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _grid(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _svg(canvas: Any) -> str:
    file = io.StringIO()
    canvas.savefig(file, format="svg")
    text = file.getvalue()
    return text[text.index("<svg") :]
