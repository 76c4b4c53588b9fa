"""Checks of what the stages around training need: what would stop them is told at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_r1.errors import require_fit

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


def check_lora(config: dict[str, Any]) -> None:
    """The stages train and load whole models, and a checkpoint of adapters holds none."""
    model, section = config["actor_rollout_ref"]["model"], config["search_r1"]
    keys = [key for key in ("lora_rank", "lora_adapter_path") if model.get(key)]
    wanted = [f"search_r1.{name}" for name in ("cold_start", "evaluation") if section.get(name)]
    require_fit(
        not (keys and wanted),
        f"{' and '.join(wanted)} take whole models, but actor_rollout_ref.model."
        f"{keys and keys[0]}={keys and model[keys[0]]} trains adapters; set "
        f"{' '.join(f'{name}=null' for name in wanted)}, or train without LoRA.",
    )


def remark_on_prompt(config: dict[str, Any]) -> str | None:
    """Tell of a prompt from which only a model that has learned calls makes any; else None."""
    section = config["search_r1"]
    if section.get("prompt") != "bare" or section.get("cold_start"):
        return None
    shown = (section.get("evaluation") or {}).get("base_prompt") or "two_shot"
    return (
        "search_r1.prompt=bare shows no call and there is no cold start before it: a model that "
        f"was not trained on calls never searches. Add search_r1.prompt={shown}, unless yours was."
    )


STAGE_CHECKS: tuple[Callable[[dict[str, Any]], None], ...] = (check_evaluation, check_lora)
