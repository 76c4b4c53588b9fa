"""What a run will take of memory and disk, estimated before it starts."""

from __future__ import annotations

from pathlib import Path

from search_r1.launch.derive import Config, uses_critic, uses_reference

_GIB = 2**30


def memory_need_gb(config: Config) -> float | None:
    """Estimate what a run on the CPU takes, all processes together; None for GPU runs.

    Fixed: Ray and the Python processes that import torch, as measured. Per parameter (2 bytes in a
    bf16 file): float32 weights, gradients and two Adam moments, for the actor and for the critic;
    the reference's float32 weights; the engine's copy. Per token of a micro-batch: measured
    between micro-batches of 1,024 and 1,536 tokens, nine times its logits in float32.
    """
    if config["trainer"]["device"] != "cpu":
        return None
    part = config["actor_rollout_ref"]
    copies = 2 + 8 * (1 + uses_critic(config)) + 2 * uses_reference(config)
    tokens = part["actor"]["ppo_max_token_len_per_gpu"] * 50_000 * 4 * 9
    engine = part["rollout"].get("engine_kwargs", {}).get("vllm", {})
    cache = engine.get("kv_cache_memory_bytes") or 0
    return float(9.4 + (copies * (_weight_bytes(config) or 0) + tokens + cache) / _GIB)


def disk_need_gb(config: Config) -> float | None:
    """Estimate what checkpoints take: float32 weights, two Adam moments, one more meanwhile.

    None when the model is not on this machine, so that its size is unknown.
    """
    if config["trainer"]["save_freq"] <= 0:
        return 1.0
    weights = _weight_bytes(config)
    if weights is None:
        return None
    kept = config["trainer"].get("max_actor_ckpt_to_keep") or 2
    return 1.0 + 6 * weights * (1 + uses_critic(config)) * (kept + 1) / _GIB


def _weight_bytes(config: Config) -> int | None:
    """Give the size of the model's weight files; None when they are not here."""
    folder = Path(config["actor_rollout_ref"]["model"]["path"])
    if not folder.is_dir():
        return None
    for pattern in ("*.safetensors", "*.bin"):
        if size := sum(file.stat().st_size for file in folder.glob(pattern)):
            return size
    return None
