"""Checks of what the stages around training need: what would stop them is told at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_r1.launch.errors import require_fit

_CHECKPOINT = "actor_rollout_ref.actor.checkpoint.save_contents"


def check_evaluation(config: dict[str, Any]) -> None:
    """An evaluation after training loads the model of the last checkpoint."""
    if not config["search_r1"].get("evaluation"):
        return
    save_freq = config["trainer"].get("save_freq") or -1
    contents = list(config["actor_rollout_ref"]["actor"]["checkpoint"].get("save_contents") or ())
    require_fit(
        save_freq > 0 and "hf_model" in contents,
        "search_r1.evaluation loads the last checkpoint in Hugging Face's format, but "
        f"trainer.save_freq={save_freq} and {_CHECKPOINT}={contents}; set trainer.save_freq to 1 "
        f"or more and {_CHECKPOINT}=[model,optimizer,extra,hf_model], or "
        "search_r1.evaluation=null for no evaluation.",
    )


STAGE_CHECKS: tuple[Callable[[dict[str, Any]], None], ...] = (check_evaluation,)
