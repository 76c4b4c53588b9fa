import time

import pytest

from search_r1.answers import (
    exact_match,
    f1_score,
    find_answer,
    find_gold_answers,
    gold_answers_of,
    sub_exact_match,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>Paris</answer>", "Paris"),
        ("so <answer>\n Paris \n</answer> and more", "Paris"),
        ("<answer></answer>", ""),
        ("<answer>one <answer>two</answer>", "two"),
        ("<answer>one</answer> <answer>two</answer>", "one"),
        ("</answer> <answer>two</answer>", "two"),
        ("<answer>a < b > c</answer>", "a < b > c"),
        ("<answer>Beijing</answer", None),
        ("<answer>Beijing", None),
        ("Beijing</answer>", None),
        ("<Answer>Beijing</Answer>", None),
        ("", None),
    ],
)
def test_the_first_closed_answer_is_found(text, answer):
    found = find_answer(text)
    assert (found[0] if found else None) == answer
    if found:
        assert text[: found[1]].endswith("</answer>")


@pytest.mark.parametrize(
    "text", ["<answer>" * 12_500, "</answer>" * 11_000, "<answer></answer" * 6_000, "<" * 100_000]
)
def test_finding_an_answer_in_100_kb_is_fast(text):
    started = time.process_time()
    find_answer(text)
    assert time.process_time() - started < 1.0  # quadratic work would take minutes


@pytest.mark.parametrize(
    ("prediction", "gold_answers", "em", "sub_em", "f1"),
    [
        ("Bram Stoker", ["Bram Stoker"], 1, 1, 1),
        ("bram stoker.", ["The Bram Stoker"], 1, 1, 1),
        ("It was Bram Stoker", ["Bram Stoker"], 0, 1, 2 * (2 / 4) * 1 / (2 / 4 + 1)),  # 2/3
        ("Stoker", ["Bram Stoker"], 0, 0, 2 / 3),
        ("Bram", ["Mary Shelley", "Bram Stoker"], 0, 0, 2 / 3),
        ("Mary Shelley", ["Bram Stoker", "Mary Shelley"], 1, 1, 1),
        ("a b b c", ["b b d"], 0, 0, 2 / 3),  # "a" is an article: overlap b b, 2 of 3 and 2 of 3
        ("yes", ["yes"], 1, 1, 1),
        ("Yes.", ["yes"], 1, 1, 1),
        ("no", ["yes"], 0, 0, 0),
        ("yes it is", ["yes"], 0, 1, 0),
        ("no it is not", ["no"], 0, 1, 0),
        ("yes", ["yes it is"], 0, 0, 0),
        ("noanswer", ["noanswer given"], 0, 0, 0),
        ("not known", ["no"], 0, 1, 0),
        ("yes it is", ["no", "yes it is"], 1, 1, 1),
        ("café", ["CAFÉ"], 1, 1, 1),
        ("富士山", ["富士山", "Mount Fuji"], 1, 1, 1),
        ("富士", ["富士山"], 0, 0, 0),
        ("1,000", ["1000"], 1, 1, 1),
        ("Paris", [], 0, 0, 0),
        (None, ["Paris"], 0, 0, 0),
        (None, [""], 0, 0, 0),
        ("anything", ["The"], 0, 0, 0),
    ],
)
def test_scores_worked_by_hand(prediction, gold_answers, em, sub_em, f1):
    assert exact_match(prediction, gold_answers) == em
    assert sub_exact_match(prediction, gold_answers) == sub_em
    assert f1_score(prediction, gold_answers) == pytest.approx(f1)


@pytest.mark.parametrize("prediction", ["", "  "])
@pytest.mark.parametrize("gold", ["A", "The", "!", ""])
def test_an_empty_answer_never_scores(prediction, gold):
    """A gold answer that normalises to nothing must not pay for writing nothing."""
    assert exact_match(prediction, [gold]) == 0.0
    assert sub_exact_match(prediction, [gold]) == 0.0
    assert f1_score(prediction, [gold]) == 0.0


def test_a_gold_answer_that_normalises_to_nothing_can_still_be_given():
    assert exact_match("A", ["A"]) == 1.0


@pytest.mark.parametrize("metric", [exact_match, sub_exact_match, f1_score])
def test_a_bare_string_of_gold_answers_is_refused(metric):
    with pytest.raises(TypeError, match="gold_answers is the string 'Paris'; pass a list"):
        metric("P", "Paris")


@pytest.mark.parametrize("target", ["Paris", [], None, [3], ["Paris", 3], ["A"], ["", "The!"]])
def test_gold_answers_that_cannot_be_matched_are_refused(target):
    with pytest.raises(ValueError, match=r"reward_model.ground_truth.target is "):
        gold_answers_of({"reward_model": {"ground_truth": {"target": target}}})
    with pytest.raises(ValueError, match=r"reward_model.ground_truth.target is "):
        gold_answers_of({"reward_model": {"ground_truth": target}})


def test_a_gold_answer_that_nothing_can_match_is_left_out_beside_others():
    row = {"reward_model": {"ground_truth": {"target": ["The", "Bram Stoker"]}}}
    assert gold_answers_of(row) == ["Bram Stoker"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The novel by Bram Stoker.", ["Bram Stoker"]),
        ("bram STOKER, of Dublin!", ["Bram Stoker", "Dublin"]),
        ("<information>Dublin, and Bram Stoker.</information>", ["Bram Stoker", "Dublin"]),
        ("It is <b>Dublin</b>ers", ["Dublin"]),
        ("Bram Stokers", []),
        ("Dubliners", []),
        ("", []),
    ],
)
def test_a_gold_answer_stands_in_a_text_as_whole_words(text, found):
    assert find_gold_answers(text, ["Bram Stoker", "Dublin", "the"]) == found
