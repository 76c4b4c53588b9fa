"""Fit retrieved passages into a token budget: whole if they fit, else cut passage by passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from search_r1.parsers.base import ToolParser
from search_r1.tokens import Codec
from search_r1.types import Passage

_MIN_PASSAGE_TOKENS = 8  # a shorter stub of a passage says nothing
_REPLACEMENT = "\ufffd"  # what a cut inside a multi-byte character decodes to


@dataclass(frozen=True, slots=True)
class Observation:
    """Ids to append after a turn, encoded once.

    Attributes:
        ids: The tokens, tags included.
        text: What was encoded.
        passage_ids: Passages the text holds, in order.
        is_truncated: True when a passage was cut or left out to fit.
    """

    ids: list[int]
    text: str
    passage_ids: list[str] = field(default_factory=list)
    is_truncated: bool = False


def fit_observation(
    passages: Sequence[Passage], parser: ToolParser, codec: Codec, room: int
) -> Observation | None:
    """Encode passages so that the observation, closing tag included, takes at most ``room`` tokens.

    Long passages are cut first, to an equal share; passages are left out from the last when a share
    would be under 8 tokens. One whose title leaves no room for that even alone is left out first.

    Returns:
        The observation, or None when not even the tags and one stub fit.
    """
    observation = _fit_all(passages, parser, codec, room)
    if observation is not None:
        return observation
    # A passage whose title alone fills the room must not take the others with it.
    kept = [passage for passage in passages if _fit_all([passage], parser, codec, room) is not None]
    while kept:
        observation = _fit_all(kept, parser, codec, room)
        if observation is not None:
            return replace(observation, is_truncated=True)
        kept.pop()
    return None


def _fit_all(
    passages: Sequence[Passage], parser: ToolParser, codec: Codec, room: int
) -> Observation | None:
    """Fit every one of the passages, cutting their texts; None when they get too small."""
    text = parser.format_observation(passages)
    ids = codec.encode(text)
    passage_ids = [passage.id for passage in passages]
    if len(ids) <= room:
        return Observation(ids, text, passage_ids)
    bodies = [codec.encode(passage.text) for passage in passages]
    bare = parser.format_observation([replace(passage, text="") for passage in passages])
    budget = room - len(codec.encode(bare))  # for texts, beside tags, titles and line breaks
    while passages and budget >= _MIN_PASSAGE_TOKENS * len(passages):
        share = _fair_share([len(body) for body in bodies], budget)
        cut = [
            replace(passage, text=codec.decode(body[:share]).rstrip(_REPLACEMENT))
            for passage, body in zip(passages, bodies, strict=True)
        ]
        text = parser.format_observation(cut)
        ids = codec.encode(text)
        if len(ids) <= room:
            return Observation(ids, text, passage_ids, is_truncated=True)
        budget -= len(ids) - room  # tokens merge differently at the new seams
    return None


def _fair_share(lengths: list[int], budget: int) -> int:
    """Give the largest cap under which the capped lengths sum to at most ``budget``."""
    remaining, count = budget, len(lengths)
    for length in sorted(lengths):
        if length * count > remaining:
            return remaining // count
        remaining -= length
        count -= 1
    return max(lengths, default=0)
