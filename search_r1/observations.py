"""Fit what tools gave back into a token budget: whole if it fits, else cut where it is long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from search_r1.tokens import Codec
from search_r1.types import Passage

_MIN_PASSAGE_TOKENS = 8  # a shorter stub of a passage says nothing
_REPLACEMENT = "\ufffd"  # what a cut inside a multi-byte character decodes to

Body = str | Sequence[Passage]
"""What one call gave back: a text, or passages."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text and its ids, encoded once."""

    ids: list[int]
    text: str


Write = Callable[[list[str]], EncodedText]
"""Writes the texts of one turn's results as the trajectory goes on after them."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Ids to append after a turn.

    Attributes:
        ids: The tokens, tags included.
        text: What was encoded.
        passage_ids: Passages the text holds, in order.
        is_truncated: True when a passage or a text was cut or left out to fit.
    """

    ids: list[int]
    text: str
    passage_ids: list[str] = field(default_factory=list)
    is_truncated: bool = False


def number_passages(passages: Sequence[Passage]) -> str:
    """Write passages as the model reads them, one ``Doc 1(Title: ...) ...`` a line."""
    lines = [f"Doc {rank}(Title: {p.title}) {p.text}" for rank, p in enumerate(passages, start=1)]
    return "\n".join(lines) if lines else "Nothing was found."


def fit_observation(
    bodies: Sequence[Body], write: Write, codec: Codec, room: int, cap: int | None = None
) -> Observation | None:
    """Encode the results of a turn's calls in at most ``room`` tokens, tags included.

    Long passages and texts are cut first, to an equal share; passages are left out from the last
    when a share would be under 8 tokens. One whose title leaves no room for that even alone is left
    out first.

    Args:
        bodies: One per call.
        write: Writes and encodes their texts.
        codec: The policy's tokenizer.
        room: Tokens for all of them.
        cap: Tokens that each may take by itself; None for as many as there are.

    Returns:
        The observation, or None when not even the tags and one stub fit.
    """
    cap = room if cap is None else min(cap, room)
    if len(bodies) == 1:
        fitted = _fit(bodies[0], write, codec, cap)
        return fitted.observation if fitted else None
    singles = [_fit(body, write, codec, cap) for body in bodies]
    texts = [single.texts[0] for single in singles if single]
    together = _fit_all(texts, write, codec, room) if len(texts) == len(bodies) else None
    if together is None:
        return None
    found = [single.observation for single in singles if single]
    return replace(
        together.observation,
        passage_ids=[passage_id for one in found for passage_id in one.passage_ids],
        is_truncated=together.observation.is_truncated or any(one.is_truncated for one in found),
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """An observation, and the texts of its bodies as they were cut."""

    observation: Observation
    texts: list[str]


def _fit(body: Body, write: Write, codec: Codec, room: int) -> _Fitted | None:
    whole = _fit_all([body], write, codec, room)
    if whole is not None or isinstance(body, str):
        return whole
    # A passage whose title alone fills the room must not take the others with it.
    kept = [p for p in body if _fit_all([[p]], write, codec, room) is not None]
    while kept:  # "Nothing was found" would be a lie about passages that only did not fit
        fitted = _fit_all([kept], write, codec, room)
        if fitted is not None:
            return replace(fitted, observation=replace(fitted.observation, is_truncated=True))
        kept.pop()
    return None


def _fit_all(bodies: Sequence[Body], write: Write, codec: Codec, room: int) -> _Fitted | None:
    """Fit every passage and text, cutting them; None when they get too small."""
    passage_ids = [p.id for body in bodies if not isinstance(body, str) for p in body]
    texts = [_text_of(body) for body in bodies]
    encoded = write(texts)
    if len(encoded.ids) <= room:
        return _Fitted(Observation(encoded.ids, encoded.text, passage_ids), texts)
    parts = [codec.encode(text) for body in bodies for text in _cuttable(body)]
    bare = write([_text_of(_cut(body, iter([""] * len(_cuttable(body))))) for body in bodies])
    budget = room - len(bare.ids)  # for texts, beside tags, titles and line breaks
    while parts and budget >= _MIN_PASSAGE_TOKENS * len(parts):
        share = _fair_share([len(part) for part in parts], budget)
        cuts = iter([codec.decode(part[:share]).rstrip(_REPLACEMENT) for part in parts])
        texts = [_text_of(_cut(body, cuts)) for body in bodies]
        encoded = write(texts)
        if len(encoded.ids) <= room:
            cut = Observation(encoded.ids, encoded.text, passage_ids, is_truncated=True)
            return _Fitted(cut, texts)
        budget -= len(encoded.ids) - room  # tokens merge differently at the new seams
    return None


def _text_of(body: Body) -> str:
    return body if isinstance(body, str) else number_passages(body)


def _cuttable(body: Body) -> list[str]:
    """List the texts of a body that may be cut, in order."""
    return [body] if isinstance(body, str) else [passage.text for passage in body]


def _cut(body: Body, texts: Iterator[str]) -> Body:
    """Put cut texts, the next ones of an iterator, in the place of a body's own."""
    if isinstance(body, str):
        return next(texts)
    return [replace(passage, text=next(texts)) for passage in body]


def _fair_share(lengths: list[int], budget: int) -> int:
    """Give the largest cap under which the capped lengths sum to at most ``budget``."""
    remaining, count = budget, len(lengths)
    for length in sorted(lengths):
        if length * count > remaining:
            return remaining // count
        remaining -= length
        count -= 1
    return max(lengths)
