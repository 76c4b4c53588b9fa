"""Which trajectories are worth reading, and why each ended as it did."""

from pathlib import Path
from typing import Any

import pytest

from search_r1.summary.comparison import Outcomes, read_outcomes
from search_r1.summary.readings import choose_readings, explain, write_reading

AFTER, BEFORE = "trained.search.greedy", "cold_start.search.greedy"


@pytest.mark.parametrize(
    ("em", "searches", "found", "why"),
    [
        (1, 0, "", "Right without a search."),
        (1, 1, "It is by Bram Stoker.", "Right: the answer stood in what it found."),
        (1, 1, "Nothing.", "Right, though what it found does not hold the answer."),
        (0, 0, "", "Wrong without a search; the answer is Bram Stoker."),
        (
            0,
            1,
            "It is by Bram Stoker.",
            "Wrong: the answer, Bram Stoker, stood in what it found, and it wrote another.",
        ),
        (0, 1, "Nothing.", "Wrong: its query did not find the answer, Bram Stoker."),
        (0, 1, "Bram Stokers", "Wrong: its query did not find the answer, Bram Stoker."),
    ],
)
def test_why_it_ended_so_is_said(
    outcome_of: Any, em: float, searches: int, found: str, why: str
) -> None:
    record = outcome_of("u0", "unknown", em, searches)
    for turn in record["turns"]:
        if turn["observation_text"]:
            turn["observation_text"] = f"\n<information>{found}</information>\n"
    assert explain(record) == why


def test_five_of_different_kinds_are_chosen(compared_run: Path) -> None:
    chosen = choose_readings(read_outcomes(compared_run))
    # Learned to search; learned to do without; a real one; found and not read; and nothing is left
    # that is wrong in another way but the last.
    assert [reading["uid"] for reading in chosen] == ["u1", "k0", "r0", "k3", "r1"]
    assert [reading["knowledge"] for reading in chosen] == ["unknown", "known", "", "known", ""]
    first = chosen[0]
    assert first["source"] == "source of u"
    assert first["before"]["text"] == "<search>Dracula</search> <answer>wrong</answer>"
    assert first["after"]["found"] == "Dracula is by Bram Stoker."
    assert first["why"] == "Right: the answer stood in what it found."


def test_no_question_is_chosen_twice_and_none_is_made_up(outcome_of: Any) -> None:
    one = outcome_of("u0", "unknown", 0.0, 1)
    chosen = choose_readings([Outcomes(AFTER, [one], 0)])
    assert [reading["uid"] for reading in chosen] == ["u0"]
    assert chosen[0]["before"] is None
    assert choose_readings([Outcomes(BEFORE, [one], 0)]) == []
    assert choose_readings([]) == []


def test_what_a_turn_was_made_to_begin_with_is_read_with_it(outcome_of: Any) -> None:
    record = outcome_of("k0", "known", 1.0, 0)
    record["turns"][0] |= {"opening": "<answer>", "model_text": "right</answer>"}
    (reading,) = choose_readings([Outcomes(AFTER, [record], 0)])
    assert reading["after"]["text"] == "<answer>right</answer>"


def test_a_reading_is_a_few_lines(outcome_of: Any) -> None:
    after, before = outcome_of("u0", "unknown", 1.0, 1), outcome_of("u0", "unknown", 0.0, 0)
    (reading,) = choose_readings([Outcomes(AFTER, [after], 0), Outcomes(BEFORE, [before], 0)])
    assert write_reading(reading).split("\n") == [
        "question u0?  [source of u, unknown]",
        "  after the cold start: <answer>wrong</answer>",
        "  after RL: <search>Dracula</search> <answer>right</answer>",
        "    found: Dracula is by Bram Stoker.",
        "  Right: the answer stood in what it found.",
    ]


def test_a_long_passage_is_cut(outcome_of: Any) -> None:
    record = outcome_of("u0", "unknown", 1.0, 1)
    record["turns"][0]["observation_text"] = "word " * 500
    (reading,) = choose_readings([Outcomes(AFTER, [record], 0)])
    assert len(reading["after"]["found"]) == 160
