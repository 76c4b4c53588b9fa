"""GRPO in which a trajectory that infrastructure ended has no part."""

from __future__ import annotations

from collections import Counter
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
    A sibling left alone has nothing to be compared with and learns nothing either.
    """
    rows = list(zip(index, response_mask.bool().any(dim=-1).tolist(), strict=True))
    sizes = Counter(uid for uid, is_sound in rows if is_sound)
    is_compared = [is_sound and sizes[uid] > 1 for uid, is_sound in rows]
    groups = [uid if is_compared[row] else f"alone_{row}" for row, (uid, _) in enumerate(rows)]
    advantages, returns = core_algos.compute_grpo_outcome_advantage(
        token_level_rewards,
        response_mask,
        np.array(groups),
        norm_adv_by_std_in_grpo=config is None or config.get("norm_adv_by_std_in_grpo", True),
    )
    kept_rows = torch.tensor(is_compared).unsqueeze(-1)
    return advantages * kept_rows, returns * kept_rows
