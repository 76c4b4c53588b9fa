"""Compare two results question by question: ``python -m eval.compare A.jsonl B.jsonl``.

Both must be of the same questions, decoding and corpus; the difference of their EM comes with a
paired bootstrap interval and McNemar's exact test, by data source and in all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.steps import DataPrepError, run_command, say
from eval.manifest import differences
from eval.measures import ALL, Result, em, group_names, read_result
from search_r1.statistics import bootstrap_interval

_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """EM of two results over the questions both have."""

    group: str
    number: int
    first: float
    second: float
    low: float
    """Lower end of the 95 % interval of ``second - first``."""
    high: float
    gained: int
    """Questions that only the second one answers."""
    lost: int
    """Questions that only the first one answers."""
    p_value: float
    """Of McNemar's exact test: of as uneven a split by chance, were both as good."""

    def verdict(self, first: str, second: str) -> str:
        """Say in a sentence what can be said: a difference is shown when both tests show it."""
        points = f"{100 * (self.second - self.first):+.1f} points"
        facts = f"{points}, 95 % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        facts += f", McNemar p = {self.p_value:.2g}, {self.number} questions"
        if (self.low > 0 or self.high < 0) and self.p_value < _LEVEL:
            better, worse = (second, first) if self.low > 0 else (first, second)
            return f"{better} is better than {worse} ({facts})."
        return f"no difference between {first} and {second} is shown ({facts})."


def compare(first: Result, second: Result, group: str = ALL) -> Comparison | None:
    """Compare two results on one group of questions; None when they share none.

    Raises:
        DataPrepError: If their protocols differ in what must be the same.
    """
    if reasons := differences(first.manifest, second.manifest):
        raise DataPrepError(
            f"{first.name} and {second.name} cannot be compared: {'; '.join(reasons)}. Evaluate "
            "both on the same questions, decoding and corpus."
        )
    before = {record["uid"]: em(record) for record in first.of(group)}
    pairs = [(before[r["uid"]], em(r)) for r in second.of(group) if r["uid"] in before]
    if not pairs:
        return None
    from scipy.stats import binomtest

    scores = np.array(pairs)  # (questions, 2)
    change = scores[:, 1] - scores[:, 0]
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    low, high = bootstrap_interval(change)
    return Comparison(
        group=group,
        number=len(pairs),
        first=float(scores[:, 0].mean()),
        second=float(scores[:, 1].mean()),
        low=low,
        high=high,
        gained=gained,
        lost=lost,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def compare_groups(first: Result, second: Result) -> list[Comparison]:
    """Compare on everything, then on each group of questions."""
    groups = group_names([first, second])
    return [one for group in groups if (one := compare(first, second, group)) is not None]


def table(comparisons: Sequence[Comparison], first: str, second: str) -> str:
    """Write a Markdown table of comparisons."""
    lines = [
        f"| questions | number | {first} | {second} | change | 95 % interval | gained | lost | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.group} | {one.number} | {one.first:.1%} | {one.second:.1%} "
        f"| {100 * (one.second - one.first):+.1f} "
        f"| {100 * one.low:+.1f} to {100 * one.high:+.1f} "
        f"| {one.gained} | {one.lost} | {one.p_value:.2g} |"
        for one in comparisons
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__)
    parser.add_argument("first", type=Path, help="trajectories of eval.run")
    parser.add_argument("second", type=Path, help="trajectories of eval.run")
    parsed = parser.parse_args(arguments)

    def run() -> None:
        first, second = read_result(parsed.first), read_result(parsed.second)
        found = compare_groups(first, second)
        if not found:
            raise DataPrepError(f"{first.name} and {second.name} share no question.")
        say(table(found, first.name, second.name))
        say("\n" + found[0].verdict(first.name, second.name))

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
