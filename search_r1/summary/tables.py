"""The table at the end of a run, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_r1.summary.alarms import alarm_lines
from search_r1.summary.comparison_table import comparison_lines

_ROWS = (
    ("train_em", "training questions answered exactly", "{:.1%}"),
    ("train_reward", "training reward", "{:.3f}"),
    ("searches_per_trajectory", "searches per trajectory", "{:.2f}"),
    ("no_search_rate", "trajectories that never search", "{:.0%}"),
    ("valid_turn_rate", "turns with a valid search or answer", "{:.0%}"),
    ("answered_rate", "trajectories that end with an answer", "{:.0%}"),
    ("sampled_entropy_nats", "entropy of sampled tokens (nats)", "{:.2f}"),
)
_WIDTH = 40
_MINUTE_S = 60


def format_summary(summary: dict[str, Any], run_dir: Path) -> str:
    """Give the table as text, ending with a newline.

    Args:
        summary: What :func:`search_r1.summary.summarize.summarize` gave.
        run_dir: Where the files are.
    """
    lines = [
        "",
        f"{summary['preset']}: {summary['steps']} steps of {summary['trajectories_per_step']} "
        f"trajectories, {_duration(summary['wall_s'])} from start to end",
        "",
    ]
    lines += _evaluation(summary)
    lines += ["", f"{'':<{_WIDTH}}{'first':>10}{'last':>10} fifth of the steps"]
    for name, label, form in _ROWS:
        if trend := summary["trends"].get(name):
            lines.append(_row(label, trend["first"], trend["last"], form))
    lines += [
        "",
        *alarm_lines(summary.get("alarms", ())),
        *_facts(summary),
        "",
        f"Everything is in {run_dir}: summary.json, curves.png,",
    ]
    lines.append("metrics.jsonl, trajectories/, eval/, checkpoints/, logs/.")
    return "\n".join(lines) + "\n"


def _evaluation(summary: dict[str, Any]) -> list[str]:
    """Give the lines about held-out questions: the models compared, or verl's own validation."""
    if summary["evaluation"]:
        return list(comparison_lines(summary["evaluation"], summary["readings"]))
    lines = [f"{'':<{_WIDTH}}{'before':>10}{'after':>10}"]
    label = f"held-out EM, {summary.get('em_questions', 0)} questions"
    lines.append(_row(label, summary["em_before"], summary["em_after"], "{:.1%}"))
    for source, scores in summary.get("em_by_source", {}).items():
        label = f"  {source or 'no source'}, {scores['questions']} questions"
        lines.append(_row(label, scores["before"], scores["after"], "{:.1%}"))
    if "em_change" in summary:
        low, high = (100 * value for value in summary["em_change_ci95"])
        lines.append(
            f"{'  change':<{_WIDTH}}{100 * summary['em_change']:>+20.1f} points; "
            f"95 % interval {low:+.1f} to {high:+.1f}"
        )
    return lines


def _row(label: str, first: float | None, last: float | None, form: str) -> str:
    shown = [form.format(value) if value is not None else "-" for value in (first, last)]
    return f"{label:<{_WIDTH}}{shown[0]:>10}{shown[1]:>10}"


def _facts(summary: dict[str, Any]) -> list[str]:
    stages = summary["stages_s"]
    per_step = stages["steps/total"] / summary["steps"]
    split = ", ".join(
        f"{name.removeprefix('steps/').replace('_', ' ')} {seconds / summary['steps']:.1f}"
        for name, seconds in stages.items()
        if name.startswith("steps/") and name != "steps/total"
    )
    facts = [f"time        {per_step:.1f} s a step on average;", f"            {split}"]
    if summary["memory"]:
        largest = list(summary["memory"]["peak_of_kind_gb"].items())[:3]
        kinds = ", ".join(f"{kind} {size:.1f}" for kind, size in largest)
        facts.append(
            f"memory      {summary['peak_rss_gb']:.1f} GiB at most in "
            f"{summary['memory']['processes_at_peak']} processes (largest: {kinds})"
        )
    retriever = summary["retriever"]
    if retriever["latency_mean_s"] is not None:
        facts.append(
            f"retriever   {1000 * retriever['latency_mean_s']:.0f} ms a search on average, "
            f"{1000 * retriever['latency_max_s']:.0f} ms at most, "
            f"{retriever['failure_rate'] or 0:.1%} of trajectories lost to it"
        )
    return facts


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = seconds / _MINUTE_S
    return f"{minutes:.1f} min" if minutes < 2 * _MINUTE_S else f"{minutes / _MINUTE_S:.1f} h"
