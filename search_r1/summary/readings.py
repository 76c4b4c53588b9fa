"""Five trajectories worth reading: where models differ, what was searched, why it ended so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from search_r1.answers import find_gold_answers
from search_r1.metrics import Record, searches_of
from search_r1.summary.comparison import Outcomes

_BEFORE, _AFTER = "cold_start.search.greedy", "trained.search.greedy"
_PASSAGE_CHARS = 160
_Pair = tuple[Record, Record | None]


def choose_readings(outcomes: Sequence[Outcomes]) -> list[dict[str, Any]]:
    """Choose at most five questions, the first that fits each of five descriptions.

    Returns:
        Per question its text, gold answers, what each model did, and ``why``.
    """
    by_name = {one.name: one for one in outcomes}
    if _AFTER not in by_name:
        return []
    before = {r["uid"]: r for r in by_name[_BEFORE].records} if _BEFORE in by_name else {}
    pairs = [(record, before.get(record["uid"])) for record in by_name[_AFTER].records]
    chosen: list[_Pair] = []
    for fits in _DESCRIPTIONS:
        chosen += [pair for pair in pairs if pair not in chosen and fits(*pair)][:1]
    return [_reading(after, earlier) for after, earlier in chosen]


def write_reading(reading: dict[str, Any]) -> str:
    """Put one reading into lines for a terminal."""
    label = f"{reading['source']}, {reading['knowledge'] or 'real'}"
    lines = [f"{reading['question']}  [{label}]"]
    for name, words in (("before", "after the cold start"), ("after", "after RL")):
        if done := reading[name]:
            lines.append(f"  {words}: {done['text']}")
            lines += [f"    found: {done['found']}"] if done["found"] else []
    lines.append(f"  {reading['why']}")
    return "\n".join(lines)


def _reading(after: Record, before: Record | None) -> dict[str, Any]:
    return {
        "uid": after["uid"],
        "question": after["question"],
        "source": after["metadata"]["data_source"],
        "knowledge": after["metadata"].get("knowledge", ""),
        "gold_answers": after["gold_answers"],
        "before": _deed(before) if before else None,
        "after": _deed(after),
        "why": explain(after),
    }


def _deed(record: Record) -> dict[str, str]:
    text = " ".join(turn["opening"] + turn["model_text"].strip() for turn in record["turns"])
    found = " ".join(turn["observation_text"].strip() for turn in record["turns"]).strip()
    found = found.removeprefix("<information>").removesuffix("</information>")
    return {"text": " ".join(text.split()), "found": found[:_PASSAGE_CHARS]}


def explain(record: Record) -> str:
    """Say in a sentence why a trajectory is right or wrong, from what it searched and found."""
    gold = record["gold_answers"][0]
    is_right, has_searched = record["reward"]["em"] > 0, searches_of(record) > 0
    if is_right and not has_searched:
        return "Right without a search."
    if is_right:
        return (
            "Right: the answer stood in what it found."
            if _was_found(record)
            else ("Right, though what it found does not hold the answer.")
        )
    if not has_searched:
        return f"Wrong without a search; the answer is {gold}."
    if _was_found(record):
        return f"Wrong: the answer, {gold}, stood in what it found, and it wrote another."
    return f"Wrong: its query did not find the answer, {gold}."


def _was_found(record: Record) -> bool:
    text = " ".join(turn["observation_text"] for turn in record["turns"])
    return bool(find_gold_answers(text, record["gold_answers"]))


def _is(record: Record, knowledge: str, em: float, searched: bool) -> bool:
    return (
        (record["metadata"].get("knowledge") or "real") == knowledge
        and record["reward"]["em"] == em
        and (searches_of(record) > 0) == searched
    )


_DESCRIPTIONS: tuple[Callable[[Record, Record | None], bool], ...] = (
    # It learned to search where it does not know,
    lambda after, before: (
        _is(after, "unknown", 1, True) and (before is None or not _is_right(before))
    ),
    # and to do without where it knows,
    lambda after, _: _is(after, "known", 1, False),
    lambda after, _: _is(after, "real", 1, True) or _is(after, "real", 1, False),
    # and what still goes wrong: found and not read, or not found; or not asked.
    lambda after, _: after["reward"]["em"] == 0 and _was_found(after),
    lambda after, _: after["reward"]["em"] == 0,
)


def _is_right(record: Record) -> bool:
    return bool(record["reward"]["em"] > 0)
