from pathlib import Path

import pytest

from search_r1.errors import LaunchError
from search_r1.launch import plan
from search_r1.launch.checks.consistency import check_consistency


def make(tmp_path: Path, *overrides: str) -> plan.Plan:
    return plan.make_plan("grpo_3b_8gpu", overrides, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search_r1.loop.max_response_tokens=4000", "max_response_tokens=4000 is more than data."),
        ("data.max_prompt_length=1024", "= 4608 is more than .*max_model_len=4096"),
        (
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048",
            "less than one sequence of 4096",
        ),
        (
            "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=4095",
            r"rollout\.log_prob_max_token_len_per_gpu=4095 is less than one sequence of 4096",
        ),
        (
            "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu=4095",
            r"ref\.log_prob_max_token_len_per_gpu=4095 is less than one",
        ),
        ("~search_r1.loop.max_response_tokens", "max_response_tokens=4096 is more than data."),
        ("search_r1.loop.max_turn_tokens=3585", "max_turn_tokens=3585 is more than max_resp"),
        ("data.seed=null", "val_max_samples=1024 draws .* without data.seed"),
        (
            "reward.custom_reward_function.path=mine.py",
            "path=mine.py scores .* reward.num_workers=0; set reward.num_workers=1",
        ),
        (
            "+reward.reward_model={enable:true,enable_resource_pool:true}",
            "the agent loop scores by itself and verl then asks no such model",
        ),
        ("data.train_batch_size=300", "train_batch_size=300 is not a multiple"),
        ("actor_rollout_ref.rollout.n=1", "n=1; make it at least 2"),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size=3", "=3 does not divide"),
        ("search_r1.retriever.client.url=localhost", "'localhost' is not an http address"),
        ("+search_r1.env.VERL_PLATFORM=cpu", "the CPU platform needs both"),
    ],
)
def test_values_that_cannot_go_together_are_refused(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(LaunchError, match=message):
        check_consistency(make(tmp_path, override).config)


@pytest.mark.slow
def test_a_critics_micro_batch_holds_a_sequence(tmp_path: Path) -> None:
    room = "critic.ppo_max_token_len_per_gpu=4000"
    check_consistency(make(tmp_path, room).config)  # GRPO has no critic
    config = plan.make_plan("ppo_7b_8gpu", [room], tmp_path).config
    with pytest.raises(LaunchError, match=r"critic\.ppo_max_token_len_per_gpu=4000 is less"):
        check_consistency(config)
    config["critic"]["ulysses_sequence_parallel_size"] = 2
    check_consistency(config)


@pytest.mark.slow
def test_questions_drawn_without_a_seed_are_refused_only_where_they_are_drawn(
    tmp_path: Path,
) -> None:
    config = make(tmp_path, "data.seed=null", "data.shuffle=false").config
    check_consistency(config)  # the first ones, always the same
    config = make(tmp_path, "data.seed=null", "data.val_max_samples=-1").config
    check_consistency(config)
