"""What shows that a training goes wrong before its score does: rules over its steps' metrics."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Metrics = Mapping[str, Any]
WINDOW = 4  # steps that a rule averages over: one step of few questions says little


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a step's metrics, with those before, give a reason to look at."""

    step: int
    name: str
    text: str
    """What was seen, and what to do about it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    key: str
    is_bad: Callable[[float], bool]
    """Of the mean of the last steps that have the metric."""
    text: str
    """With ``{mean}`` and ``{steps}`` filled in."""


_RULES = (
    _Rule(
        *("searches_all", "knowledge/known/searched", lambda mean: mean >= 0.97),
        "{mean:.0%} of what the model knows was searched too, over {steps} steps: there is nothing "
        "left to choose from. A higher price of a search (search_r1.reward.searches_when_right), "
        "more known questions a step, or a lower learning rate",
    ),
    _Rule(
        *("searches_nothing", "search/no_search_rate", lambda mean: mean >= 0.95),
        "{mean:.0%} of the trajectories did not search, over {steps} steps: what is not tried is "
        "not learned. A lower price of a search, more questions that need one, or a cold start",
    ),
    _Rule(
        *("low_entropy", "search/sampled_entropy_nats", lambda mean: mean < 0.1),
        "sampled tokens have {mean:.2f} nats of entropy, over {steps} steps: a group's "
        "trajectories hardly differ. A lower learning rate, a higher temperature, or an entropy "
        "term (actor_rollout_ref.actor.entropy_coeff)",
    ),
    _Rule(
        *("form", "search/valid_turn_rate", lambda mean: mean < 0.5),
        "{mean:.0%} of the turns held a valid search or answer, over {steps} steps. A cold start, "
        "or a prompt with examples (search_r1.prompt)",
    ),
    _Rule(
        *("lost", "retriever/failure_rate", lambda mean: mean > 0.05),
        "{mean:.0%} of the trajectories were lost to the retriever, over {steps} steps: look at "
        "its log and at /metrics",
    ),
)
_NO_SIGNAL = (
    "in {bad} of {steps} steps the rewards of no group differed, so nothing was learned. A larger "
    "group (actor_rollout_ref.rollout.n), a higher temperature, or other questions"
)
_NOT_FINITE = (
    "{key} is {value}: the update is broken. Go on from an earlier checkpoint with a lower "
    "learning rate"
)


class Alarms:
    """Looks at each step as it comes; an alarm that goes on is told once."""

    def __init__(self) -> None:
        self._recent: deque[Metrics] = deque(maxlen=WINDOW)
        self._sounding: set[str] = set()

    def update(self, metrics: Metrics) -> list[Alarm]:
        """Take the metrics of a step and give what is newly wrong.

        Args:
            metrics: One line of metrics.jsonl; one that only holds a validation is passed over.
        """
        if "timing_s/step" not in metrics:
            return []
        self._recent.append(metrics)
        found = dict(self._look())
        fresh = [name for name in found if name not in self._sounding]
        self._sounding = set(found)
        return [Alarm(int(metrics["step"]), name, found[name]) for name in fresh]

    def _look(self) -> Iterator[tuple[str, str]]:
        for key in ("actor/grad_norm", "reward/total"):
            if not math.isfinite(value := self._recent[-1].get(key, 0.0)):
                yield "not_finite", _NOT_FINITE.format(key=key, value=value)
        if len(self._recent) < WINDOW:
            return
        for rule in _RULES:
            values = [step[rule.key] for step in self._recent if rule.key in step]
            if values and rule.is_bad(mean := fmean(values)):
                yield rule.name, rule.text.format(mean=mean, steps=len(values))
        ends = [
            [step.get(f"critic/advantages/{end}") for end in ("min", "max")]
            for step in self._recent
        ]
        bad = ends.count([0.0, 0.0])
        if bad >= WINDOW // 2:
            yield "no_signal", _NO_SIGNAL.format(bad=bad, steps=WINDOW)


def alarms_of(steps: Iterable[Metrics]) -> list[Alarm]:
    """Give the alarms of a whole run, in order of its steps."""
    alarms = Alarms()
    return [alarm for metrics in steps for alarm in alarms.update(metrics)]


def alarm_lines(alarms: Sequence[Mapping[str, Any]], most: int = 5) -> list[str]:
    """Write alarms of a summary as lines of a table, the first ``most`` of them."""
    lines = [f"alarm       step {one['step']}: {one['text']}" for one in alarms[:most]]
    if len(alarms) > most:
        lines.append(f"            and {len(alarms) - most} more in summary.json")
    return lines
