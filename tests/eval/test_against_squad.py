"""Fuzz: EM, F1 and sub-EM against a second, plain writing of the field's definition."""

import string
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from contract.answers import normalize_answer
from search_r1.answers import exact_match, f1_score, sub_exact_match

PIECES = ["a", "an", "the", "The", "A", "yes", "no", "noanswer", "Paris", "1,000", "co-op", "U.S."]
PIECES += ["'", "-", ".", "!", " ", "\t", "\n", "é", "ß", "İ", "theater", "an-a"]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map(" ".join) | st.text(
    max_size=12
)
golds = st.lists(texts, max_size=4)


def normalize(text):
    """SQuAD's: lower, without punctuation, without articles that are words, single spaces."""
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    out, word = [], ""
    for char in kept + " ":
        if char.isalnum() or char == "_":
            word += char
            continue
        out.append(" " if word in ("a", "an", "the") else word)
        out.append(char)
        word = ""
    return " ".join("".join(out).split())


def f1(prediction, gold):
    guess, truth = normalize(prediction), normalize(gold)
    if guess != truth and {guess, truth} & {"yes", "no", "noanswer"}:
        return 0.0
    common = Counter(guess.split()) & Counter(truth.split())
    same = sum(common.values())
    if not same:
        return 0.0
    precision, recall = same / len(guess.split()), same / len(truth.split())
    return 2 * precision * recall / (precision + recall)


@given(texts)
def test_normalisation_is_squads(text):
    assert normalize_answer(text) == normalize(text)


@given(texts.filter(lambda text: text.strip()), golds)
def test_scores_are_the_best_over_the_golds(prediction, golds):
    guess = normalize(prediction)
    truths = [normalize(gold) for gold in golds]
    assert exact_match(prediction, golds) == float(guess in truths)
    assert sub_exact_match(prediction, golds) == float(any(t and t in guess for t in truths))
    assert f1_score(prediction, golds) == max((f1(prediction, gold) for gold in golds), default=0.0)


@given(golds)
def test_no_answer_scores_nothing(golds):
    for prediction in (None, "", " \n"):
        assert exact_match(prediction, golds) == f1_score(prediction, golds) == 0.0
