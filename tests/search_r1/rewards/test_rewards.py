import pytest

from search_r1.rewards import RewardConfig, score
from search_r1.rewards.format import format_score, well_formed_score
from search_r1.rewards.outcome import outcome_scores
from search_r1.types import FinishReason, StopReason, Trajectory, Turn


def finished(prediction, stop_reason=StopReason.ANSWER, well_formed=(True,), gold=("Bram Stoker",)):
    trajectory = Trajectory("u", "q", list(gold), [1])
    trajectory.turns = [
        Turn("", 0, 0, FinishReason.STOP, 0.0, well_formed=one) for one in well_formed
    ]
    trajectory.prediction, trajectory.stop_reason = prediction, stop_reason
    return trajectory


def test_a_right_answer_scores_one_by_default():
    assert score(finished("bram stoker"), RewardConfig()) == {
        "total": 1.0,
        "em": 1.0,
        "sub_em": 1.0,
        "f1": 1.0,
        "format": 1.0,
        "well_formed": 1.0,
        "searches": 0.0,
        "searches_when_right": 0.0,
        "duplicate_queries": 0.0,
        "unanswered": 0.0,
    }


def test_the_total_is_the_weighted_sum():
    parts = score(finished("Stoker"), RewardConfig(em=1.0, f1=0.5, format=0.2))
    assert parts["total"] == pytest.approx(0.5 * 2 / 3 + 0.2)
    assert parts["em"] == 0.0


@pytest.mark.parametrize(
    ("trajectory", "expected"),
    [
        (finished("wrong"), 1.0),
        (finished(""), 0.0),
        (finished(None, StopReason.NO_ACTION, (False,)), 0.0),
        (finished(None, StopReason.SEARCH_LIMIT), 0.0),
        (finished("right", well_formed=(False, True)), 0.0),
        (finished("right", well_formed=(True, False)), 0.0),
        (finished("right", well_formed=(True, True, True)), 1.0),
    ],
)
def test_format_pays_for_a_closed_answer_without_invalid_turns(trajectory, expected):
    assert format_score(trajectory) == expected


@pytest.mark.parametrize(
    "stop_reason", [reason for reason in StopReason if reason is not StopReason.ANSWER]
)
def test_without_an_answer_nothing_scores(stop_reason):
    parts = score(finished(None, stop_reason), RewardConfig(em=1, f1=1, format=1))
    assert parts["unanswered"] == 1.0
    others = parts.keys() - {"well_formed", "unanswered"}
    assert {parts[name] for name in others} == {0.0}


@pytest.mark.parametrize(
    ("well_formed", "share"), [((), 0.0), ((True,), 1.0), ((True, False, False, True), 0.5)]
)
def test_well_formed_pays_for_the_share_of_valid_turns(well_formed, share):
    trajectory = finished(None, StopReason.NO_ACTION, well_formed)
    assert well_formed_score(trajectory) == share
    parts = score(trajectory, RewardConfig(em=1, well_formed=0.4))
    assert parts["total"] == pytest.approx(0.4 * share)


def test_scoring_changes_nothing():
    trajectory = finished("Stoker")
    before = trajectory.to_json()
    outcome_scores(trajectory.prediction, trajectory.gold_answers)
    score(trajectory, RewardConfig())
    assert trajectory.to_json() == before


@pytest.mark.parametrize("name", ["em", "f1", "format", "well_formed"])
def test_weights_of_merits_must_not_be_negative(name):
    with pytest.raises(ValueError, match=rf"reward weight {name} is -1; .*unanswered may be"):
        RewardConfig(**{name: -1})


def test_weights_must_not_all_be_zero():
    with pytest.raises(ValueError, match="every reward weight is 0"):
        RewardConfig(em=0)
