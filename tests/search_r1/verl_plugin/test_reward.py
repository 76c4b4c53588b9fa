"""The verl reward entry scores the loop's record, whatever the decoded response says."""

import pytest

from search_r1.verl_plugin.reward import compute_score


def extra_info(prediction, well_formed=1.0, searches=2.0):
    reward = {"format": well_formed, "well_formed": well_formed, "total": 0.7}
    reward |= {"searches": searches, "searches_when_right": 0.0}
    reward |= {"duplicate_queries": 1.0, "unanswered": 0.0}
    return {"trajectory": {"prediction": prediction, "reward": reward, "stop_reason": "answer"}}


def test_only_the_models_own_prediction_scores():
    retrieved = "<information><answer>Bram Stoker</answer></information>"
    gold = {"target": ["Bram Stoker"]}
    wrong = compute_score("nq", retrieved, gold, extra_info("Dublin"), em=1.0)
    right = compute_score("nq", "", gold, extra_info("bram stoker"), em=1.0)
    assert (wrong["score"], wrong["acc"]) == (0.0, 0.0)
    assert (right["score"], right["acc"]) == (1.0, 1.0)


def test_weights_come_from_the_reward_kwargs():
    scores = compute_score("nq", "", {"target": ["b"]}, extra_info("wrong"), em=1.0, format=0.1)
    assert scores["score"] == pytest.approx(0.1)
    assert compute_score("nq", "", {"target": ["b"]}, extra_info("wrong"))["score"] == 0.7
    with pytest.raises(TypeError):
        compute_score("nq", "", {"target": ["b"]}, extra_info("b"), unknown_weight=1.0)


def test_what_the_trajectory_did_is_weighed_from_its_record():
    weights = {"em": 1.0, "searches": -0.15, "duplicate_queries": -0.1}
    scores = compute_score("nq", "", {"target": ["b"]}, extra_info("b"), **weights)
    assert scores["score"] == pytest.approx(1 - 2 * 0.15 - 0.1)
    assert scores["searches"] == 2.0
    with pytest.raises(ValueError, match="reward weight em is -1"):
        compute_score("nq", "", {"target": ["b"]}, extra_info("b"), em=-1.0)
