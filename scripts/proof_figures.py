"""What the kept runs of the proof say: the table over seeds, and each aim beside its figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from eval.measures import Result, em, groups_of, read_result, searches, when_to_search
from search_r1.metrics import Record
from search_r1.statistics import bootstrap_interval, difference_interval
from search_r1.summary.records import read_metrics, training_steps

ROWS = {
    "base.search.greedy": "base, two worked examples",
    "base.rag.greedy": "base, plain RAG",
    "cold_start.search.greedy": "after the cold start",
    "cold_start.search.sampled": "after the cold start, sampled",
    "trained.search_never.greedy": "after RL, made to answer at once",
    "trained.search_always.greedy": "after RL, made to search",
    "one_search.search.greedy": "after RL, one search at most",
    "trained.search.greedy": "**after RL**",
}
"""``MODEL.METHOD.DECODING`` to words, in the order of the table."""
COLUMNS = {
    "known": "known",
    "unknown": "unknown",
    "two_hop": "two-hop",
    "nq": "NQ",
    "triviaqa": "TriviaQA",
    "all": "all",
}
AFTER = "trained.search.greedy"
SAMPLES = ("sampled", "sampled1", "sampled2", "sampled3")
"""What the neutrality of the cold start is measured over: one sample a question is a toss."""
COLD_STARTS = tuple(f"cold_start.search.{decoding}" for decoding in SAMPLES)
PASSES = tuple(dict.fromkeys((*ROWS, *COLD_STARTS)))
_SINGLE_HOP = ("known", "unknown")


@dataclass(frozen=True)
class Seed:
    """One kept run."""

    results: Mapping[str, Result]
    steps: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A figure over seeds: mean, spread, and an interval over questions."""

    mean: float
    seeds: list[float]
    low: float
    """Lower end of the 95 % interval: questions resampled, each the mean over its seeds."""
    high: float


def read_seeds(proof: Path) -> list[Seed]:
    """Read every kept run, in the order of their names."""
    seeds = []
    for folder in sorted(proof.glob("seed-*")):
        results = {name: read_result(folder / f"{name}.jsonl.gz") for name in PASSES}
        seeds.append(Seed(results, training_steps(read_metrics(folder))))
    if not seeds:
        raise SystemExit(f"{proof} holds no kept run; `python scripts/proof.py keep RUN --seed N`.")
    return seeds


class Figures:
    """Computes over seeds; a question's figure is its mean over them.

    Args:
        seeds: Kept runs over the same questions.
    """

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.seeds = seeds

    def cell(self, name: str, group: str | Sequence[str], value: Callable[[Record], float]) -> Cell:
        """Average a value of a row's trajectories over one group of questions, or several."""
        values = [_by_question(seed.results[name], group, value) for seed in self.seeds]
        return _over_seeds(values)

    def difference(
        self, name: str, other: str, group: str | Sequence[str] = "all",
        value: Callable[[Record], float] = em,
    ) -> Cell:  # fmt: skip
        """Give how much more a value is in one row than in another, question by question."""
        pairs = [
            (_by_question(seed.results[name], group, value),
             _by_question(seed.results[other], group, value))
            for seed in self.seeds
        ]  # fmt: skip
        return _over_seeds([{uid: a[uid] - b[uid] for uid in a if uid in b} for a, b in pairs])

    @cached_property
    def table(self) -> dict[str, Any]:
        """Every row with its columns."""
        return {name: self._row(name) for name in ROWS}

    def _row(self, name: str) -> dict[str, Any]:
        row: dict[str, Any] = {f"em_{group}": vars(self.cell(name, group, em)) for group in COLUMNS}
        row["searches"] = vars(self.cell(name, "all", lambda r: float(searches(r))))
        for group in ("known", "unknown", "two_hop"):
            row[f"searched_{group}"] = vars(
                self.cell(name, group, lambda r: float(searches(r) > 0))
            )
        row["searched_twice"] = vars(self.cell(name, "two_hop", lambda r: float(searches(r) > 1)))
        row["tokens"] = vars(self.cell(name, "all", lambda r: float(len(r["response_mask"]))))
        row["right_per_search"] = [_right_per_search(seed.results[name]) for seed in self.seeds]
        if name == AFTER:
            row["over_search"], row["under_search"] = map(
                list, zip(*(self._when(seed) for seed in self.seeds), strict=True)
            )
        return row

    def _when(self, seed: Seed) -> tuple[float, float]:
        free, never, always = (
            seed.results[name]
            for name in (AFTER, "trained.search_never.greedy", "trained.search_always.greedy")
        )
        found = when_to_search(free, never, always)
        return found["over_search"].value, found["under_search"].value

    def aims(self) -> list[dict[str, Any]]:
        """Give each aim, what came out, and whether it holds."""
        after = self.table[AFTER]
        return [
            self._gap_aim(COLD_STARTS, "after the cold start, sampled: -5 to +5",
                          lambda v: -5 <= v <= 5),
            self._gap_aim((AFTER,), "after RL: at least +80", lambda v: v >= 80),
            self._ahead("EM over all, above search_always: at least 5, interval above 0",
                        "trained.search_always.greedy", 5),
            self._ahead("EM over all, above search_never: at least 5, interval above 0",
                        "trained.search_never.greedy", 5),
            self._ahead("EM over all, above base with its prompt: at least 45",
                        "base.search.greedy", 45),
            self._share_of_searches(),
            self._plain("EM of known and unknown together: at least 90",
                        self.cell(AFTER, _SINGLE_HOP, em), 90),
            self._plain("two-hop questions with two searches: at least 60",
                        self.cell(AFTER, "two_hop", lambda r: float(searches(r) > 1)), 60),
            self._two_hop(),
            self._most("over-search: at most 5", after["over_search"], 5),
            self._most("under-search: at most 10", after["under_search"], 10),
        ]  # fmt: skip

    def _gap_aim(
        self, names: Sequence[str], words: str, holds: Callable[[float], bool]
    ) -> dict[str, Any]:
        values, ends = [], []
        for seed in self.seeds:
            known, unknown = (
                np.array(list(_mean_over([seed.results[name] for name in names], group).values()))
                for group in _SINGLE_HOP
            )
            values.append(100 * float(unknown.mean() - known.mean()))
            ends.append([100 * end for end in difference_interval(known, unknown)])
        return {"aim": f"searched, unknown minus known, {words}", "seeds": values,
                "intervals": ends, "is_met": all(map(holds, values))}  # fmt: skip

    def _ahead(self, words: str, other: str, least: float) -> dict[str, Any]:
        return self._plain(words, self.difference(AFTER, other), least)

    def _plain(self, words: str, cell: Cell, least: float) -> dict[str, Any]:
        return {"aim": words, **_percent(cell),
                "is_met": 100 * cell.mean >= least and cell.low > 0}  # fmt: skip

    def _most(self, words: str, shares: Sequence[float], most: float) -> dict[str, Any]:
        values = [100 * share for share in shares]
        return {"aim": words, "seeds": values, "mean": float(np.mean(values)),
                "is_met": all(value <= most for value in values)}  # fmt: skip

    def _share_of_searches(self) -> dict[str, Any]:
        free, always = (
            self.cell(name, "all", lambda r: float(searches(r)))
            for name in (AFTER, "trained.search_always.greedy")
        )
        shares = [a / b for a, b in zip(free.seeds, always.seeds, strict=True)]
        return {"aim": "searches, of those of search_always: at most 0.7", "seeds": shares,
                "mean": float(np.mean(shares)),
                "is_met": float(np.mean(shares)) <= 0.7}  # fmt: skip

    def _two_hop(self) -> dict[str, Any]:
        free, once = (
            self.cell(name, "two_hop", em) for name in (AFTER, "one_search.search.greedy")
        )
        return {"aim": "EM on two-hop questions, at least twice that with one search",
                "seeds": [100 * value for value in free.seeds],
                "with_one": [100 * value for value in once.seeds],
                "is_met": free.mean >= 2 * once.mean}  # fmt: skip

    def markdown(self) -> str:
        """Write the table: means over seeds, the seeds' spread where there are several."""
        heads = [*(f"{words}: EM" for words in COLUMNS.values()), "searches", "tokens"]
        lines = [f"| | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
        for name, words in ROWS.items():
            row = self.table[name]
            cells = [_write(row[f"em_{group}"], 100, "%") for group in COLUMNS]
            cells += [_write(row["searches"], 1, ""), _write(row["tokens"], 1, "")]
            lines.append(f"| {words} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def _by_question(
    result: Result, group: str | Sequence[str], value: Callable[[Record], float]
) -> dict[str, float]:
    wanted = {group} if isinstance(group, str) else set(group)
    return {r["uid"]: value(r) for r in result.records if wanted & set(groups_of(r))}


def _mean_over(results: Sequence[Result], group: str) -> dict[str, float]:
    """Give how often each question of a group was searched, over results."""
    each = [_by_question(result, group, lambda r: float(searches(r) > 0)) for result in results]
    return {uid: float(np.mean([one[uid] for one in each])) for uid in each[0]}


def _over_seeds(values: Sequence[Mapping[str, float]]) -> Cell:
    shared = sorted(set.intersection(*(set(each) for each in values)))
    scores = np.array([[each[uid] for uid in shared] for each in values])  # (seeds, questions)
    low, high = bootstrap_interval(scores.mean(axis=0))
    return Cell(float(scores.mean()), [float(mean) for mean in scores.mean(axis=1)], low, high)


def _right_per_search(result: Result) -> float:
    total = sum(map(searches, result.records))
    right = sum(em(record) for record in result.records if searches(record))
    return right / total if total else 0.0


def _percent(cell: Cell) -> dict[str, Any]:
    return {"mean": 100 * cell.mean, "seeds": [100 * value for value in cell.seeds],
            "interval": [100 * cell.low, 100 * cell.high]}  # fmt: skip


def _write(cell: Mapping[str, Any], times: float, unit: str) -> str:
    digits = 0 if times == 100 or cell["mean"] >= 10 else 2
    mean, *spread = (
        f"{times * value:.{digits}f}" for value in (cell["mean"], *sorted(cell["seeds"]))
    )
    low, high = spread[0], spread[-1]
    return f"{mean}{unit}" if low == high else f"{mean}{unit} ({low}-{high})"
