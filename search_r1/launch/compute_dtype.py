"""The type models are multiplied in, on machines without a GPU: what the processor is fast at."""

from __future__ import annotations

from typing import Any

import processor
from search_r1.errors import UsageError

ROLLOUT_DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
_FP32_SUMS = {"reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def fill_compute_dtype(config: dict[str, Any]) -> None:
    """Choose the type models compute in, once for trainer, reference, critic and rollout engine.

    What somebody set at one of these places already stays there.
    """
    section = config["search_r1"]
    chosen = section.get("compute_dtype")
    if chosen not in (None, *ROLLOUT_DTYPES):
        raise UsageError(
            f"search_r1.compute_dtype is {chosen!r}; it must be one of "
            f"{', '.join(ROLLOUT_DTYPES)}, or null for what the processor is fast at."
        )
    if config["trainer"]["device"] != "cpu":
        if chosen is not None:
            raise UsageError(
                f"search_r1.compute_dtype={chosen} is for presets on CPUs; on GPUs set "
                "actor_rollout_ref.rollout.dtype and "
                "actor_rollout_ref.actor.fsdp_config.mixed_precision."
            )
        return
    chosen = section["compute_dtype"] = chosen or processor.fast_dtype()
    part = config["actor_rollout_ref"]
    for engine in (
        part["actor"]["fsdp_config"],
        part["ref"]["fsdp_config"],
        config["critic"]["fsdp"],
    ):
        if engine.get("mixed_precision") is None:
            engine["mixed_precision"] = {"param_dtype": chosen, **_FP32_SUMS}
    if part["rollout"].get("dtype") is None:
        part["rollout"]["dtype"] = ROLLOUT_DTYPES[chosen]
