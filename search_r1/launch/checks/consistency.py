"""Checks across the sections of a config: values that cannot go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from search_r1.errors import require_fit
from search_r1.launch.checks.stages import STAGE_CHECKS
from search_r1.launch.derive import Config, retriever_urls, uses_critic, uses_reference


def check_consistency(config: Config) -> None:
    """Raise for the first pair of values that cannot go together; names both."""
    for check in _CHECKS:
        check(config)


def _check_lengths(config: Config) -> None:
    data, rollout = config["data"], config["actor_rollout_ref"]["rollout"]
    response, limit = _loop(config)["max_response_tokens"], data["max_response_length"]
    require_fit(
        response <= limit,
        f"search_r1.loop.max_response_tokens={response} is more than "
        f"data.max_response_length={limit}; verl has no room for such a response.",
    )
    total = data["max_prompt_length"] + limit
    longest = rollout.get("max_model_len")
    require_fit(
        longest is None or total <= longest,
        f"data.max_prompt_length + data.max_response_length = {total} is more than "
        f"actor_rollout_ref.rollout.max_model_len={longest}; vLLM would refuse the last turns.",
    )


def _loop(config: Config) -> Config:
    """Give the loop's limits, those the config leaves out at their defaults."""
    from search_r1.loop import LoopConfig  # here: the launcher itself does without its imports

    defaults = {field.name: field.default for field in fields(LoopConfig)}
    return defaults | (config["search_r1"]["loop"] or {})


def _check_micro_batches(config: Config) -> None:
    """A micro-batch packed by tokens must hold at least one whole sequence."""
    total = config["data"]["max_prompt_length"] + config["data"]["max_response_length"]
    parts = config["actor_rollout_ref"]
    actor, rollout, ref = parts["actor"], parts["rollout"], parts["ref"]
    is_bypassed = (config["algorithm"].get("rollout_correction") or {}).get("bypass_mode")
    rooms = (
        ("actor_rollout_ref.actor.ppo", actor, actor["use_dynamic_bsz"]),
        (
            "actor_rollout_ref.rollout.log_prob",
            rollout,
            rollout["log_prob_use_dynamic_bsz"] and not is_bypassed,
        ),
        (
            "actor_rollout_ref.ref.log_prob",
            ref,
            ref["log_prob_use_dynamic_bsz"] and uses_reference(config),
        ),
        (
            "critic.ppo",
            config["critic"],
            config["critic"]["use_dynamic_bsz"] and uses_critic(config),
        ),
    )
    for name, section, is_used in rooms:
        key = f"{name}_max_token_len_per_gpu"
        tokens = section[key.rpartition(".")[2]]
        holder = section if section is config["critic"] else actor  # they share a sequence alike
        gpus = holder.get("ulysses_sequence_parallel_size") or 1
        require_fit(
            not is_used or tokens * gpus >= total,
            f"{key}={tokens}{f' (of {gpus} GPUs each)' if gpus > 1 else ''} is less than one "
            f"sequence of {total} tokens (data.max_prompt_length + data.max_response_length).",
        )


def _check_turns(config: Config) -> None:
    loop = _loop(config)
    turn, response = loop["max_turn_tokens"], loop["max_response_tokens"]
    require_fit(
        turn <= response,
        f"search_r1.loop.max_turn_tokens={turn} is more than max_response_tokens={response}.",
    )


def _check_batches(config: Config) -> None:
    batch = config["data"]["train_batch_size"]
    mini = config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"]
    require_fit(
        batch >= mini and batch % mini == 0,
        f"data.train_batch_size={batch} is not a multiple of "
        f"actor_rollout_ref.actor.ppo_mini_batch_size={mini} (both count questions).",
    )
    estimator = config["algorithm"]["adv_estimator"]
    group = config["actor_rollout_ref"]["rollout"]["n"]
    require_fit(
        not str(estimator).startswith("grpo") or group > 1,
        f"algorithm.adv_estimator={estimator} compares trajectories of one question, but "
        f"actor_rollout_ref.rollout.n={group}; make it at least 2.",
    )


def _check_devices(config: Config) -> None:
    per_node = config["trainer"]["n_gpus_per_node"]
    parallel = config["actor_rollout_ref"]["rollout"]["tensor_model_parallel_size"]
    require_fit(
        parallel <= per_node * config["trainer"]["nnodes"]
        and (per_node % parallel == 0 or parallel % per_node == 0),
        f"actor_rollout_ref.rollout.tensor_model_parallel_size={parallel} does not divide "
        f"trainer.n_gpus_per_node={per_node}.",
    )
    asks_cpu = config["trainer"]["device"] == "cpu"
    has_platform = config["search_r1"]["env"].get("VERL_PLATFORM") == "cpu"
    require_fit(
        asks_cpu == has_platform,
        f"trainer.device={config['trainer']['device']} but search_r1.env.VERL_PLATFORM="
        f"{config['search_r1']['env'].get('VERL_PLATFORM')}; the CPU platform needs both.",
    )


def _check_retriever(config: Config) -> None:
    urls = retriever_urls(config)
    for url in urls:
        require_fit(
            url.startswith(("http://", "https://")),
            f"search_r1.retriever.client.url={url!r} is not an http address, "
            "such as http://127.0.0.1:8000.",
        )
    require_fit(
        bool(urls or config["search_r1"]["retriever"].get("index")),
        "search_r1.retriever names neither a server that runs (client.url) nor an index to serve "
        "(index).",
    )


def _check_held_out(config: Config) -> None:
    data = config["data"]
    samples = data.get("val_max_samples") or -1
    require_fit(
        samples <= 0 or data.get("seed") is not None or not data.get("shuffle", True),
        f"data.val_max_samples={samples} draws held-out questions, and without data.seed every "
        "process draws others, a resumed run too; set data.seed=0.",
    )


def _check_reward(config: Config) -> None:
    path = config["reward"]["custom_reward_function"].get("path")
    require_fit(
        not path or config["reward"]["num_workers"] > 0,
        f"reward.custom_reward_function.path={path} scores in verl's reward workers, but "
        "reward.num_workers=0; set reward.num_workers=1.",
    )
    model = config["reward"].get("reward_model") or {}
    require_fit(
        bool(path) or not (model.get("enable") and model.get("enable_resource_pool")),
        "reward.reward_model has GPUs of its own (enable_resource_pool=true), but the agent loop "
        "scores by itself and verl then asks no such model; name a function that asks it with "
        "reward.custom_reward_function.path and reward.num_workers=1, or set "
        "reward.reward_model.enable=false.",
    )


_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_lengths,
    _check_micro_batches,
    _check_turns,
    _check_batches,
    _check_devices,
    _check_retriever,
    _check_held_out,
    _check_reward,
    *STAGE_CHECKS,
)
