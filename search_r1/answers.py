"""Extract an answer and compare it with the gold answers.

Metrics follow the open-domain QA protocol (SQuAD's, as used for NQ, TriviaQA and by Search-R1), and
so does the normalisation, ``contract.answers``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contract.answers import normalize_answer

ANSWER_OPEN = "<answer>"
ANSWER_CLOSE = "</answer>"

_TAG = re.compile(r"</?\w+>")
_CLOSED_CLASS = frozenset({"yes", "no", "noanswer"})


def find_answer(turn_text: str) -> tuple[str, int] | None:
    """Find the first answer closed in one turn of the model's own text.

    The last ``<answer>`` before the close counts, so a tag the model opened twice does not leak
    into the answer.

    Returns:
        The stripped answer, possibly empty, and the index just past its closing tag; None when no
        answer was both opened and closed.
    """
    search_from = 0
    while (close := turn_text.find(ANSWER_CLOSE, search_from)) >= 0:
        end = close + len(ANSWER_CLOSE)
        start = turn_text.rfind(ANSWER_OPEN, search_from, close)
        if start >= 0:
            return turn_text[start + len(ANSWER_OPEN) : close].strip(), end
        search_from = end
    return None


def gold_answers_of(row: Mapping[str, Any]) -> list[str]:
    """Read the gold answers of a questions row, without those that normalise to nothing.

    Args:
        row: Has ``reward_model.ground_truth.target``.

    Raises:
        ValueError: If they are no list of strings (the letters of a bare string would each count as
            an answer), or nothing could match any of them.
    """
    ground_truth = (row.get("reward_model") or {}).get("ground_truth")
    target = ground_truth.get("target") if isinstance(ground_truth, Mapping) else ground_truth
    golds = list(target) if isinstance(target, Iterable) and not isinstance(target, str) else []
    if not golds or not all(isinstance(gold, str) for gold in golds):
        raise ValueError(
            f"reward_model.ground_truth.target is {target!r}; expected a list of at least one "
            'string, such as ["Bram Stoker"]. Write it so.'
        )
    usable = [gold for gold in golds if normalize_answer(gold)]
    if not usable:
        raise ValueError(
            f"reward_model.ground_truth.target is {golds!r}, of which nothing is left without "
            "punctuation and articles, so no answer could be right; drop the question."
        )
    return usable


def find_gold_answers(text: str, gold_answers: Sequence[str]) -> list[str]:
    """List the gold answers that stand in a text as whole words, normalisation aside.

    A tag parts words: normalised with its punctuation gone, ``Stoker.</information>`` would be one.
    """
    words = f" {normalize_answer(_TAG.sub(' ', text))} "
    known = ((gold, normalize_answer(gold)) for gold in gold_answers)
    return [gold for gold, normal in known if normal and f" {normal} " in words]


def exact_match(prediction: str | None, gold_answers: Sequence[str]) -> float:
    """Score 1.0 when the normalised prediction equals a normalised gold answer, else 0.0."""
    return _best(prediction, gold_answers, lambda guess, gold: float(guess == gold))


def sub_exact_match(prediction: str | None, gold_answers: Sequence[str]) -> float:
    """Score 1.0 when a normalised gold answer is part of the normalised prediction, else 0.0."""
    return _best(prediction, gold_answers, lambda guess, gold: float(bool(gold) and gold in guess))


def f1_score(prediction: str | None, gold_answers: Sequence[str]) -> float:
    """Give the best token-overlap F1 over the gold answers; 0.0 on a yes/no/noanswer mismatch."""
    return _best(prediction, gold_answers, _f1)


def _best(
    prediction: str | None, gold_answers: Sequence[str], score: Callable[[str, str], float]
) -> float:
    if isinstance(gold_answers, str):
        raise TypeError(f"gold_answers is the string {gold_answers!r}; pass a list of strings.")
    if prediction is None or not prediction.strip():  # a gold "A" normalises to nothing, too
        return 0.0
    guess = normalize_answer(prediction)
    return max((score(guess, normalize_answer(gold)) for gold in gold_answers), default=0.0)


def _f1(guess: str, gold: str) -> float:
    if guess != gold and (guess in _CLOSED_CLASS or gold in _CLOSED_CLASS):
        return 0.0
    guess_tokens, gold_tokens = guess.split(), gold.split()
    overlap = sum((Counter(guess_tokens) & Counter(gold_tokens)).values())
    if overlap == 0:
        return 0.0
    precision, recall = overlap / len(guess_tokens), overlap / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)
