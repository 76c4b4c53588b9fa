"""What a run will take of memory and disk, estimated before it starts."""

from __future__ import annotations

from search_r1.launch.checks.model_size import ModelSize, read_model_size
from search_r1.launch.derive import Config, uses_critic, uses_reference

_GIB = 2**30
# In a run of the quickstart on two cores in fp32, docs/runs/2026-11-24-quickstart, and by type:
_PROCESSES_GB = 6.5  # Ray and every Python process that imports torch, before any weights
_CRITIC_GB = 0.7  # one process more
_WEIGHT_BYTES = 20.0  # a trained parameter: weights, gathered weights, gradients, two Adam moments
_REFERENCE_BYTES = 4
_ENGINE_COPIES = 2.4  # of the weights: vLLM's own, and those it receives and packs
_ACTIVATION_BYTES = {"fp32": 4 * 1.4, "bf16": 2.2 * 1.4}  # 1.4: what the allocator holds besides
_LOGIT_BYTES = 4 * 4 * 0.5  # fp32 logits and three gradients of them, for half of the tokens
_TOKEN_STEP = 64
_LEAST_BUCKET_MB = 128
_UNKNOWN_BUCKET_MB = 1024  # of a model that is not here yet; enough for 1.5B with 150,000 tokens


def memory_need_gb(config: Config) -> float | None:
    """Estimate what a run on the CPU takes in GiB, all processes together.

    None for GPU runs, and when the model is not on this machine.
    """
    size = _size_of(config)
    if config["trainer"]["device"] != "cpu" or size is None:
        return None
    tokens = int(config["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"])
    return _memory_gb(config, size, tokens)


def _memory_gb(config: Config, size: ModelSize, tokens: int) -> float:
    """Estimate it for a micro-batch of so many tokens of the actor."""
    part, dtype = config["actor_rollout_ref"], config["search_r1"].get("compute_dtype") or "fp32"
    each = _WEIGHT_BYTES + _REFERENCE_BYTES * uses_reference(config)
    each += _ENGINE_COPIES * (2 if dtype == "bf16" else 4)
    engine = part["rollout"].get("engine_kwargs", {}).get("vllm", {})
    need = size.parameters * each + (engine.get("kv_cache_memory_bytes") or 0)
    need += tokens * (size.activations * _ACTIVATION_BYTES[dtype] + size.vocabulary * _LOGIT_BYTES)
    gib = _PROCESSES_GB + need / _GIB
    if uses_critic(config):
        critic_tokens = config["critic"].get("ppo_max_token_len_per_gpu") or 0
        kept = size.activations * _ACTIVATION_BYTES[dtype] * critic_tokens
        gib += _CRITIC_GB + (size.parameters * _WEIGHT_BYTES + kept) / _GIB
    return float(gib)


def _fitting_tokens(config: Config, size: ModelSize, limit_gb: float) -> int | None:
    """Give the largest micro-batch in tokens for so much memory; None when one sequence is more."""
    data = config["data"]
    least = int(data["max_prompt_length"] + data["max_response_length"])
    most = int(config["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"])
    sizes: list[int] = [*range(most // _TOKEN_STEP * _TOKEN_STEP, least, -_TOKEN_STEP), least]
    for tokens in sizes:
        if _memory_gb(config, size, tokens) <= limit_gb:
            return tokens
    return None


def smaller_run(config: Config, limit_gb: float) -> str:
    """Name the overrides with which a run takes no more than so much memory."""
    size = _size_of(config)
    for dtype in (config["search_r1"].get("compute_dtype"), "bf16"):
        section = config["search_r1"] | {"compute_dtype": dtype}
        fitted = config | {"search_r1": section}
        if size and (tokens := _fitting_tokens(fitted, size, limit_gb)):
            changed = f"search_r1.compute_dtype={dtype} " if section != config["search_r1"] else ""
            return f"set {changed}actor_rollout_ref.actor.ppo_max_token_len_per_gpu={tokens}"
    return (
        "take a smaller model: not even one sequence of data.max_prompt_length + "
        "data.max_response_length tokens fits"
    )


def bucket_need_mb(config: Config) -> int | None:
    """Give the bucket in MiB that weights need to travel through: the largest tensor, in fp32.

    None when the model is not on this machine.
    """
    size = _size_of(config)
    return None if size is None else -(-size.largest * 4 // 2**20)


def fill_bucket(config: Config) -> None:
    """Set the bucket that weights travel through, in place, unless somebody has."""
    engine = config["actor_rollout_ref"]["rollout"]["checkpoint_engine"]
    if engine["update_weights_bucket_megabytes"] is None:
        need_mb = bucket_need_mb(config) or _UNKNOWN_BUCKET_MB
        engine["update_weights_bucket_megabytes"] = max(_LEAST_BUCKET_MB, need_mb)


def disk_need_gb(config: Config) -> float | None:
    """Estimate what checkpoints take: float32 weights, two Adam moments, one more meanwhile.

    None when the model is not on this machine, so that its size is unknown.
    """
    if config["trainer"]["save_freq"] <= 0:
        return 1.0
    size = _size_of(config)
    if size is None:
        return None
    kept = config["trainer"].get("max_actor_ckpt_to_keep") or 2
    return 1.0 + 12 * size.parameters * (1 + uses_critic(config)) * (kept + 1) / _GIB


def _size_of(config: Config) -> ModelSize | None:
    return read_model_size(config["actor_rollout_ref"]["model"]["path"])
