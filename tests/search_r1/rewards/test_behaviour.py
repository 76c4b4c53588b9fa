"""Counts of what a trajectory did, and what they cost; numbers worked by hand."""

import pytest

from search_r1.rewards import RewardConfig, score, weigh
from search_r1.rewards.behaviour import behaviour_counts
from search_r1.types import CallRecord, FinishReason, StopReason, Trajectory, Turn


def search(query, status="ok", is_search=True):
    return CallRecord("search", {"query": query}, status, 0.0, is_search)


def trajectory(*turns, prediction="Bram Stoker", stop_reason=StopReason.ANSWER):
    """Make a finished trajectory; each turn is a list of calls, answered unless it is a tuple."""
    made = Trajectory("u", "q", ["Bram Stoker"], [1])
    made.turns = [
        Turn(
            "",
            0,
            0,
            FinishReason.STOP,
            0.0,
            calls=list(calls),
            num_observation_ids=0 if isinstance(calls, tuple) else 9,
            well_formed=True,
        )
        for calls in turns
    ]
    made.prediction, made.stop_reason = prediction, stop_reason
    return made


def counts(made):
    found = behaviour_counts(made)
    return found["searches"], found["duplicate_queries"], found["unanswered"]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], (0, 0)),
        ([[search("a")]], (1, 0)),
        ([[search("a")], [search("b")]], (2, 0)),
        ([[search("Dracula novel")], [search("dracula, NOVEL!")]], (2, 1)),
        ([[search("a b"), search("a b")], [search("a b")], [search("c")]], (4, 2)),
        ([[search("a", status="call_limit")], [search("a", status="bad_arguments")]], (0, 0)),
        ([[search("a", is_search=False)]], (0, 0)),
        ([(search("a"),)], (0, 0)),  # no room for what was found: nothing was read
    ],
)
def test_searches_count_when_there_was_something_to_read(turns, expected):
    assert counts(trajectory(*turns)) == (*expected, 0)


@pytest.mark.parametrize(
    ("prediction", "stop_reason", "unanswered"),
    [
        ("wrong", StopReason.ANSWER, 0),
        ("", StopReason.ANSWER, 1),
        (None, StopReason.ANSWER, 1),
        (None, StopReason.NO_ACTION, 1),
        (None, StopReason.SEARCH_LIMIT, 1),
    ],
)
def test_an_end_without_an_answer_is_counted(prediction, stop_reason, unanswered):
    assert counts(trajectory(prediction=prediction, stop_reason=stop_reason))[2] == unanswered


def test_searches_cost_and_duplicates_cost_on_top():
    config = RewardConfig(searches=-0.15, duplicate_queries=-0.2, unanswered=-0.5)
    twice = trajectory([search("Dracula")], [search("dracula")])
    # Right, two searches, one of them asked before: 1 - 2 * 0.15 - 0.2.
    assert score(twice, config)["total"] == pytest.approx(0.5)
    direct = trajectory()
    assert score(direct, config)["total"] == 1.0
    gave_up = trajectory([search("x")], prediction=None, stop_reason=StopReason.NO_ACTION)
    assert score(gave_up, config)["total"] == pytest.approx(-0.65)  # -0.15 - 0.5


def test_a_right_answer_is_worth_more_the_fewer_searches_it_took():
    config = RewardConfig(searches=-0.15)
    totals = [score(trajectory(*[[search(str(i))]] * i), config)["total"] for i in range(4)]
    assert totals == pytest.approx([1.0, 0.85, 0.7, 0.55])


def test_counts_may_be_rewarded_too_and_are_enough_to_learn_from():
    config = RewardConfig(em=0.0, searches=0.25)
    assert score(trajectory([search("a")], [search("b")]), config)["total"] == 0.5


def test_counts_weigh_nothing_unless_asked():
    parts = score(trajectory([search("a")], [search("a")]), RewardConfig())
    assert (parts["total"], parts["searches"], parts["duplicate_queries"]) == (1.0, 2.0, 1.0)
    assert weigh(parts, RewardConfig(duplicate_queries=-1.0)) == 0.0
