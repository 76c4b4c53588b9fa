"""Our reward as a verl reward function, and the pattern for your own.

The agent loop scores by itself, so presets need none. To score in verl's reward workers instead,
set ``reward.custom_reward_function.path=pkg://search_r1.verl_plugin.reward`` and
``reward.num_workers=1``; with a path of your own, your function takes this one's place.

verl passes the whole decoded response as ``solution_str``, observations included. A passage that
contains an answer tag must not score, so read ``extra_info["trajectory"]``, where the loop has
already told apart what the model wrote.
"""

from __future__ import annotations

from typing import Any

from search_r1.answers import gold_answers_of
from search_r1.metrics import INFRASTRUCTURE
from search_r1.rewards import RewardConfig, weigh
from search_r1.rewards.outcome import outcome_scores

LOST = "lost"
"""Names the score that is 1 where infrastructure ended the trajectory: no other score counts."""
_OWN = ("total", "em", "sub_em", "f1")  # scored here, against the ground truth verl hands over


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: dict[str, Any],
    extra_info: dict[str, Any],
    **weights: float,
) -> dict[str, float]:
    """Score one trajectory in verl's reward manager.

    Args:
        data_source: The question's data set; not used.
        solution_str: The decoded response, observations included; not used.
        ground_truth: ``target``, the gold answers.
        extra_info: ``trajectory``, the record the agent loop left there.
        weights: Fields of :class:`search_r1.rewards.RewardConfig`, from
            ``reward.custom_reward_function.reward_kwargs``; without any, the preset's
            ``search_r1.reward`` holds.

    Returns:
        ``score``, which verl trains on, ``acc`` (EM), ``lost`` and the other parts.
    """
    record = extra_info["trajectory"]
    golds = gold_answers_of({"reward_model": {"ground_truth": ground_truth}})
    parts = {
        **outcome_scores(record["prediction"], golds),
        **{name: value for name, value in record["reward"].items() if name not in _OWN},
    }
    total = weigh(parts, RewardConfig(**weights)) if weights else record["reward"]["total"]
    is_lost = record["stop_reason"] in INFRASTRUCTURE
    return {"score": total, "acc": parts["em"], LOST: float(is_lost), **parts}
