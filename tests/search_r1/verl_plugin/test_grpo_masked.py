"""Advantages of a group with an infrastructure failure, against verl's function on the others."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # imports verl and ray

LENGTH = 6


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def core_algos():
    return pytest.importorskip("verl.trainer.ppo.core_algos")


@pytest.fixture(scope="module")
def masked_advantage(core_algos):
    pytest.importorskip("search_r1.verl_plugin.advantage")
    return core_algos.get_adv_estimator_fn("grpo_masked")


def batch(torch, rewards, lengths):
    """Put each reward on its row's last token; a length of 0 is a row masked out as a whole."""
    scores, mask = torch.zeros(len(rewards), LENGTH), torch.zeros(len(rewards), LENGTH)
    for row, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
        scores[row, max(length, 1) - 1] = reward
        mask[row, :length] = 1
        mask[row, 1:2] = 0  # an observation token
    return scores, mask


@pytest.mark.parametrize("by_std", [True, False])
def test_a_lost_trajectory_changes_nothing_for_its_siblings(
    torch, core_algos, masked_advantage, by_std
):
    rewards, lengths = [1.0, 0.0, 0.0, 1.0, 0.0, 0.3, 0.9], [5, 3, 0, 6, 4, 4, 0]
    groups = np.array(["a", "a", "a", "a", "b", "b", "b"], dtype=object)
    scores, mask = batch(torch, rewards, lengths)
    config = {"norm_adv_by_std_in_grpo": by_std}
    advantages, returns = masked_advantage(
        token_level_rewards=scores.clone(), response_mask=mask, index=groups, config=config
    )
    kept = [row for row, length in enumerate(lengths) if length]
    expected, _ = core_algos.compute_grpo_outcome_advantage(
        scores[kept].clone(), mask[kept], groups[kept], norm_adv_by_std_in_grpo=by_std
    )
    assert torch.equal(advantages[kept], expected)
    assert torch.equal(advantages[[2, 6]], torch.zeros(2, LENGTH))
    assert torch.equal(returns, advantages)
    assert torch.isfinite(advantages).all()
    assert not advantages[mask == 0].any()


def test_plain_grpo_is_moved_by_the_lost_trajectory(torch, core_algos, masked_advantage):
    scores, mask = batch(torch, [1.0, 0.0, 0.0], [5, 3, 0])
    groups = np.array(["a", "a", "a"], dtype=object)
    plain, _ = core_algos.compute_grpo_outcome_advantage(scores.clone(), mask, groups)
    ours, _ = masked_advantage(
        token_level_rewards=scores.clone(), response_mask=mask, index=groups, config={}
    )
    assert ours[0, 0].item() == pytest.approx(-ours[1, 0].item())
    assert plain[0, 0].item() > -plain[1, 0].item() + 0.1


def test_without_a_failure_it_is_verls_grpo(torch, core_algos, masked_advantage):
    scores, mask = batch(torch, [1.0, 0.0, 0.5, 0.0], [5, 3, 2, 6])
    groups = np.array(["a", "a", "b", "b"], dtype=object)
    ours, _ = masked_advantage(
        token_level_rewards=scores.clone(), response_mask=mask, index=groups, config={}
    )
    plain, _ = core_algos.compute_grpo_outcome_advantage(scores.clone(), mask, groups)
    assert torch.equal(ours, plain)


def test_a_group_of_failures_only_learns_nothing(torch, masked_advantage):
    scores, mask = batch(torch, [0.0, 0.0], [0, 0])
    groups = np.array(["a", "a"], dtype=object)
    ours, _ = masked_advantage(
        token_level_rewards=scores, response_mask=mask, index=groups, config={}
    )
    assert not ours.any()


def test_a_batch_with_a_group_missing_is_refused(torch, masked_advantage):
    scores, mask = batch(torch, [1.0, 0.0], [5, 4])
    with pytest.raises(ValueError, match="longer than argument 1"):
        masked_advantage(
            token_level_rewards=scores, response_mask=mask, index=np.array(["a"]), config={}
        )


def test_groups_are_divided_by_their_spread_unless_the_config_says_otherwise(
    torch, masked_advantage
):
    groups = np.array(["a", "a"], dtype=object)
    divided, whole = ([0.7071, -0.7071], [0.5, -0.5])  # rewards 1 and 0: mean 0.5, spread 0.7071
    for config, expected in (
        (None, divided),
        ({}, divided),
        ({"norm_adv_by_std_in_grpo": True}, divided),
        ({"norm_adv_by_std_in_grpo": False}, whole),
    ):
        scores, mask = batch(torch, [1.0, 0.0], [5, 4])
        ours, _ = masked_advantage(
            token_level_rewards=scores, response_mask=mask, index=groups, config=config
        )
        assert ours[:, 0].tolist() == pytest.approx(expected, abs=1e-3)


def test_a_sibling_left_alone_learns_nothing(torch, masked_advantage):
    scores, mask = batch(torch, [1.0, 0.0, 1.0, 0.0], [5, 0, 4, 3])
    groups = np.array(["a", "a", "b", "b"], dtype=object)
    ours, _ = masked_advantage(
        token_level_rewards=scores, response_mask=mask, index=groups, config={}
    )
    assert not ours[:2].any()
    assert ours[2, 0] > 0 > ours[3, 0]
