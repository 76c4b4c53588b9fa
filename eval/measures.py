"""What the trajectories of a pass come to: scores, searches, and whether it searched when needed.

Every figure is a mean over questions with a 95 % interval: Wilson's for shares, a bootstrap over
questions for the rest. Trajectories that infrastructure ended are left out and counted.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.steps import DataPrepError
from eval.manifest import TEXT_ONLY, Manifest, read_manifest
from eval.methods import METHODS, Context
from search_r1.answers import find_gold_answers
from search_r1.metrics import INFRASTRUCTURE, KNOWLEDGE, Record, searches_of
from search_r1.statistics import bootstrap_interval, difference_interval, wilson_interval

ALL = "all"


@dataclass(frozen=True, slots=True)
class Result:
    """One pass over the questions, read back."""

    name: str
    """``MODEL.METHOD.DECODING``."""
    manifest: Manifest
    records: Sequence[Record]
    num_lost: int
    """Trajectories left out because infrastructure ended them."""
    folder: str = "."
    """Where its file is, as it was named."""

    @property
    def model(self) -> str:
        """What the model was called."""
        return self.name.rsplit(".", 2)[0]

    @property
    def label(self) -> str:
        """The name, and what a reader must know to compare it with others."""
        return f"{self.name} ({TEXT_ONLY})" if self.manifest.is_text_only else self.name

    def of(self, group: str) -> list[Record]:
        """Give the trajectories of a data source, of ``known`` or ``unknown``, or ``all``."""
        return [record for record in self.records if group in groups_of(record)]


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float
    number: int
    """Questions it is a mean over."""


def read_result(path: Path) -> Result:
    """Read a file of trajectories, packed with gzip or not, and the manifest beside it.

    Raises:
        DataPrepError: If there is none, a line is torn, or nothing in it is whole.
    """
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    manifest = read_manifest(path.with_name(f"{name}.json"))
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        sound = [record for record in records if record["stop_reason"] not in INFRASTRUCTURE]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataPrepError(
            f"{path} cannot be read ({error!r}); run the same eval.run command again, which mends "
            "a file that was cut short."
        ) from error
    asked = sum(manifest.questions["sets"].values())
    if len(records) != asked:
        raise DataPrepError(
            f"{path} holds {len(records)} of {asked} questions; run the same eval.run command "
            "again, which goes on where it was."
        )
    if not sound:
        raise DataPrepError(f"all {len(records)} trajectories of {path} were lost; see its log.")
    lost = len(records) - len(sound)
    return Result(name, manifest, sound, lost, str(path.parent))


def read_results(places: Iterable[Path]) -> list[Result]:
    """Read files of trajectories, or all of those in a folder.

    Raises:
        DataPrepError: If a place holds none.
    """
    results = []
    for place in places:
        paths = sorted(place.glob("*.*.*.jsonl*")) if place.is_dir() else [place]
        if not paths:
            raise DataPrepError(f"{place} holds no trajectories of eval.run.")
        results += [read_result(path) for path in paths]
    order = list(METHODS)
    return sorted(results, key=lambda each: (each.model, order.index(each.manifest.method)))


def groups_of(record: Record) -> list[str]:
    """Name what a question counts to: everything, its data source, what the model knew."""
    knowledge = record["metadata"].get("knowledge")
    return [ALL, record["metadata"]["data_source"], *([knowledge] if knowledge else [])]


def group_names(results: Iterable[Result]) -> list[str]:
    """List the groups that occur: ``all``, known and unknown, then data sources as they come."""
    found = dict.fromkeys(g for r in results for record in r.records for g in groups_of(record))
    first = [name for name in (ALL, *KNOWLEDGE) if name in found]
    return [*first, *(name for name in found if name not in first)]


def em(record: Record) -> float:
    """Give 1.0 for an answer that equals a gold one, as the reward did."""
    return float(record["reward"]["em"])


def searches(record: Record) -> int:
    """Count searches; one whose passages stood in the prompt counts too."""
    method = METHODS[record["metadata"]["method"]]
    return searches_of(record) + (method.given is Context.FOUND)


def has_found(record: Record) -> bool:
    """Tell whether a gold answer stood in what the model had before its eyes."""
    read = [turn["observation_text"] for turn in record["turns"]]
    read.append(record["metadata"].get("given_text", ""))
    return bool(find_gold_answers(" ".join(read), record["gold_answers"]))


def seconds(record: Record) -> float:
    """Add up the time of a trajectory's turns, waiting for the engine included."""
    return float(sum(turn["generate_s"] + turn["tool_s"] for turn in record["turns"]))


def tokens_written(record: Record) -> int:
    """Count the tokens a model wrote, as its server reported them where it did."""
    usage = record["metadata"].get("usage") or {}
    return int(usage.get("completion_tokens") or sum(record["response_mask"]))


def tokens_read(record: Record) -> int:
    """Count the tokens of the prompt and of what was given back to it, by our tokenizer."""
    given: int = record["response_mask"].count(0)
    return len(record["prompt_ids"]) + given


SHARES: dict[str, Callable[[Record], float]] = {
    "em": em,
    "sub_em": lambda record: float(record["reward"]["sub_em"]),
    "searched": lambda record: float(searches(record) > 0),
    "found": lambda record: float(has_found(record)),
    "answered": lambda record: float(record["prediction"] is not None),
}
"""Yes or no for each question."""
MEANS: dict[str, Callable[[Record], float]] = {
    "f1": lambda record: float(record["reward"]["f1"]),
    "searches": lambda record: float(searches(record)),
    "tokens_written": lambda record: float(tokens_written(record)),
    "tokens_read": lambda record: float(tokens_read(record)),
    "seconds": seconds,
}
"""A number for each question."""


def figures(records: Sequence[Record]) -> dict[str, Figure]:
    """Give every figure of some trajectories; empty without any."""
    if not records:
        return {}
    found = {name: share([of(r) for r in records]) for name, of in SHARES.items()}
    found |= {name: mean([of(r) for r in records]) for name, of in MEANS.items()}
    written = [turn for record in records for turn in record["turns"]]
    called = [1.0] * sum(bool(turn["call"]) for turn in written)
    tried = called + [0.0] * sum(turn["is_malformed_call"] for turn in written)
    if tried:
        found["valid_calls"] = share(tried)
    total = sum(searches(record) for record in records)
    if total:
        # Right answers that a search cost; a ratio, so the bootstrap resamples both sums.
        found["right_per_search"] = ratio(
            [em(r) * (searches(r) > 0) for r in records], [float(searches(r)) for r in records]
        )
    return found


def when_to_search(
    free: Result, never: Result, always: Result, group: str = ALL
) -> dict[str, Figure]:
    """Compare the same policy left alone, kept from searching, and made to search.

    Returns:
        ``over_search``: of the questions it answers right without searching, how many it searched.
        ``under_search``: of those that it answers wrong without and right with a search, how many
        it did not search.
    """
    choice = {r["uid"]: searches(r) > 0 for r in free.of(group)}
    without = {r["uid"]: em(r) for r in never.of(group)}
    with_one = {r["uid"]: em(r) for r in always.of(group)}
    shared = [uid for uid in choice if uid in without and uid in with_one]
    knew = [uid for uid in shared if without[uid] > 0]
    needed = [uid for uid in shared if without[uid] == 0 and with_one[uid] > 0]
    found = {}
    if knew:
        found["over_search"] = share([float(choice[uid]) for uid in knew])
    if needed:
        found["under_search"] = share([float(not choice[uid]) for uid in needed])
    return found


def companions(result: Result, results: Sequence[Result]) -> tuple[Result, Result] | None:
    """Find the same policy made to search never and always, if both were evaluated."""
    model, method, decoding = result.name.rsplit(".", 2)
    by_name = {each.name: each for each in results if not _differ(each, result)}
    never = by_name.get(f"{model}.search_never.{decoding}")
    always = by_name.get(f"{model}.search_always.{decoding}")
    return (never, always) if method == "search" and never and always else None


def gap(result: Result) -> Figure | None:
    """Give the share searched of unknown questions minus that of known ones, where it chose."""
    if result.manifest.method != "search":
        return None  # it had no choice
    known, unknown = (
        np.array([float(searches(r) > 0) for r in result.of(group)])
        for group in ("known", "unknown")
    )
    if not len(known) or not len(unknown):
        return None
    value = float(unknown.mean() - known.mean())
    return Figure(value, *difference_interval(known, unknown), len(known) + len(unknown))


def macro(result: Result) -> float:
    """Average EM over data sources, each as heavy as the others."""
    sources = {record["metadata"]["data_source"] for record in result.records}
    return float(np.mean([np.mean([em(r) for r in result.of(source)]) for source in sources]))


def share(values: Sequence[float]) -> Figure:
    """Give the mean of zeros and ones with Wilson's interval."""
    value = float(np.mean(values))
    return Figure(value, *wilson_interval(value, len(values)), len(values))


def mean(values: Sequence[float]) -> Figure:
    """Give the mean of numbers with a bootstrap interval."""
    return Figure(float(np.mean(values)), *bootstrap_interval(np.array(values)), len(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Give the ratio of two sums over the same questions with a bootstrap interval."""
    tops, bottoms = np.array(above), np.array(below)
    draws = np.random.default_rng(0).integers(len(tops), size=(2000, len(tops)))
    sums = bottoms[draws].sum(axis=1)
    ratios = tops[draws].sum(axis=1)[sums > 0] / sums[sums > 0]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Figure(float(tops.sum() / bottoms.sum()), float(low), float(high), len(tops))


def _differ(one: Result, other: Result) -> bool:
    same: Mapping[str, Any] = {"questions": 0, "corpus": 0, "model_sha256": 0}
    return any(getattr(one.manifest, key) != getattr(other.manifest, key) for key in same)
