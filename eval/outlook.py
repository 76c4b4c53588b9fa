"""What an evaluation is going to ask for, said before it asks: questions, tokens, minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from eval.answerers import Pass
from eval.evaluator import AT_ONCE
from eval.measures import seconds, tokens_read, tokens_written
from search_r1.loop import LoopConfig
from search_r1.rows import Row

_LOOKED_AT = 500  # trajectories of an earlier file: its means are steady by then
_CHARS_A_TOKEN = 4  # of English, for prompts that nobody has encoded yet
_PROMPT_CHARS = 800  # of an instruction or of worked examples


@dataclass(frozen=True, slots=True)
class Pace:
    """What a question took in an earlier file of trajectories."""

    name: str
    """``MODEL.METHOD.DECODING``."""
    tokens: float
    """Read and written."""
    seconds: float
    """Of the whole evaluation, many trajectories being under way at once."""


def outlook(one: Pass, rows: Sequence[Row], own: LoopConfig) -> str:
    """Say in a line what a pass is going to ask for.

    Args:
        one: The pass; earlier files of its folder tell how long a question takes.
        rows: All questions.
        own: The limits of the model's own loop.
    """
    missing = one.missing(rows)
    said = f"{one.path}: {len(missing)} of {len(rows)} questions to ask"
    if not missing:
        return said
    pace = find_pace(one)
    if pace is None:
        most = len(missing) * _most_tokens(one, own)
        return f"{said}, at most some {most:,} tokens; minutes are known once some are answered"
    minutes = len(missing) * pace.seconds / 60
    took = f"as {pace.name} took, without starting the engine"
    return f"{said}, about {len(missing) * pace.tokens:,.0f} tokens, {minutes:.1f} minutes ({took})"


def find_pace(one: Pass) -> Pace | None:
    """Find what a question takes: from the pass's own file, one of its method, or any beside it."""
    others = sorted(one.path.parent.glob("*.*.*.jsonl"))
    of_method = [path for path in others if f".{one.method.name}." in path.name]
    found = (pace_of(path) for path in (one.path, *of_method, *others))
    return next((pace for pace in found if pace is not None), None)


def pace_of(path: Path) -> Pace | None:
    """Give what a question took in a file of trajectories; None when it holds none."""
    records = list(islice(_whole_lines(path), _LOOKED_AT))
    if not records:
        return None
    try:
        return Pace(
            path.stem,
            fmean(tokens_read(record) + tokens_written(record) for record in records),
            fmean(map(seconds, records)) / min(AT_ONCE, len(records)),
        )
    except (KeyError, TypeError):
        return None


def _whole_lines(path: Path) -> Iterator[dict[str, object]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError):
        return  # what is torn ends it


def _most_tokens(one: Pass, own: LoopConfig) -> int:
    limits = one.method.limits(own)
    given = limits.max_observation_tokens if one.method.given else 0
    return _PROMPT_CHARS // _CHARS_A_TOKEN + given + limits.max_response_tokens
