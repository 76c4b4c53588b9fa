"""GRPO in which a trajectory that infrastructure ended has no part."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl.trainer.ppo import core_algos


@core_algos.register_adv_est("grpo_masked")
def grpo_masked_advantage(
    token_level_rewards: torch.Tensor,  # (B, T)
    response_mask: torch.Tensor,  # (B, T)
    index: np.ndarray,  # (B,) group of each trajectory
    config: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give GRPO advantages that trajectories masked out of learning have no part in.

    A trajectory that an infrastructure failure ended has reward 0 and an all-zero mask. It learns
    nothing, and under plain GRPO its 0 would still make its siblings look better than they were.
    """
    is_scaled = config is None or config.get("norm_adv_by_std_in_grpo", True)
    own_group = [
        uid if mask.any() else f"masked_{row}"
        for row, (uid, mask) in enumerate(zip(index, response_mask, strict=True))
    ]
    return core_algos.compute_grpo_outcome_advantage(
        token_level_rewards,
        response_mask,
        np.array(own_group, dtype=object),
        norm_adv_by_std_in_grpo=is_scaled,
    )
