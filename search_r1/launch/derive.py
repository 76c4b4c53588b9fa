"""Values of a composed config that only the launcher knows, and checks across its sections."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_r1.launch import runs
from search_r1.launch.errors import LaunchError
from search_r1.launch.places import CONFIGS, locate

Config = dict[str, Any]  # a composed config as plain containers, interpolations resolved


def fill(config: Config, run_dir: Path) -> None:
    """Set the run's folders and make local paths absolute, in place.

    Args:
        config: A composed, resolved config.
        run_dir: Folder of the run; need not exist yet.
    """
    config["search_r1"]["run_dir"] = str(run_dir)
    config["trainer"]["default_local_dir"] = str(run_dir / "checkpoints")
    rollout = config["actor_rollout_ref"]["rollout"]
    rollout["agent"]["agent_loop_config_path"] = str(CONFIGS / "agent_loops.yaml")
    for model in (config["actor_rollout_ref"]["model"], config["critic"]["model"]):
        for key in ("path", "tokenizer_path", "hf_config_path", "lora_adapter_path"):
            if model.get(key):
                model[key] = locate(model[key])
    for key in ("train_files", "val_files"):
        files = config["data"][key]
        config["data"][key] = (
            [locate(f) for f in files] if isinstance(files, list) else locate(files)
        )
    retriever = config["search_r1"]["retriever"]
    if retriever.get("index"):
        retriever["index"] = locate(retriever["index"])
    _fill_ray(config, run_dir)


def is_remote_cluster(config: Config) -> bool:
    """Tell whether the run joins a Ray cluster that is already there."""
    return config["ray_kwargs"]["ray_init"].get("address") not in (None, "local")


def _fill_ray(config: Config, run_dir: Path) -> None:
    """Start a Ray of our own unless the preset names a cluster; hand a cluster our environment.

    Without an address Ray joins whatever cluster it finds on the machine, somebody else's included.
    """
    ray_init = config["ray_kwargs"]["ray_init"]
    if ray_init.get("address") is None:
        ray_init["address"] = "local"
    if not is_remote_cluster(config):
        return
    if ray_init["address"] == "auto" and os.environ.get("RAY_ADDRESS"):
        ray_init["address"] = os.environ["RAY_ADDRESS"]
    for key in ("num_cpus", "num_gpus", "include_dashboard"):  # only for a cluster one starts
        ray_init.pop(key, None)
    runtime_env = ray_init.setdefault("runtime_env", {})
    runtime_env["env_vars"] = (
        config["search_r1"]["env"]
        | runs.logger_variables(run_dir)
        | (runtime_env.get("env_vars") or {})
    )


def check_consistency(config: Config) -> None:
    """Raise for the first pair of values that cannot go together; names both."""
    for check in _CHECKS:
        check(config)


def _require(is_met: bool, problem: str) -> None:
    if not is_met:
        raise LaunchError(f"the config does not fit together: {problem}")


def _check_lengths(config: Config) -> None:
    loop, data = config["search_r1"]["loop"], config["data"]
    rollout = config["actor_rollout_ref"]["rollout"]
    response, limit = loop.get("max_response_tokens"), data["max_response_length"]
    _require(
        response is None or response <= limit,
        f"search_r1.loop.max_response_tokens={response} is more than "
        f"data.max_response_length={limit}; verl has no room for such a response.",
    )
    total = data["max_prompt_length"] + limit
    longest = rollout.get("max_model_len")
    _require(
        longest is None or total <= longest,
        f"data.max_prompt_length + data.max_response_length = {total} is more than "
        f"actor_rollout_ref.rollout.max_model_len={longest}; vLLM would refuse the last turns.",
    )
    actor = config["actor_rollout_ref"]["actor"]
    room = actor["ppo_max_token_len_per_gpu"] * actor.get("ulysses_sequence_parallel_size", 1)
    _require(
        not actor["use_dynamic_bsz"] or room >= total,
        f"actor_rollout_ref.actor.ppo_max_token_len_per_gpu={room} is less than one sequence of "
        f"{total} tokens (data.max_prompt_length + data.max_response_length).",
    )


def _check_turns(config: Config) -> None:
    loop = config["search_r1"]["loop"]
    turn, response = loop.get("max_turn_tokens"), loop.get("max_response_tokens")
    _require(
        turn is None or response is None or turn <= response,
        f"search_r1.loop.max_turn_tokens={turn} is more than max_response_tokens={response}.",
    )


def _check_batches(config: Config) -> None:
    batch = config["data"]["train_batch_size"]
    mini = config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"]
    _require(
        batch >= mini and batch % mini == 0,
        f"data.train_batch_size={batch} is not a multiple of "
        f"actor_rollout_ref.actor.ppo_mini_batch_size={mini} (both count questions).",
    )
    estimator = config["algorithm"]["adv_estimator"]
    group = config["actor_rollout_ref"]["rollout"]["n"]
    _require(
        not str(estimator).startswith("grpo") or group > 1,
        f"algorithm.adv_estimator={estimator} compares trajectories of one question, but "
        f"actor_rollout_ref.rollout.n={group}; make it at least 2.",
    )


def _check_devices(config: Config) -> None:
    per_node = config["trainer"]["n_gpus_per_node"]
    parallel = config["actor_rollout_ref"]["rollout"]["tensor_model_parallel_size"]
    _require(
        parallel <= per_node * config["trainer"]["nnodes"]
        and (per_node % parallel == 0 or parallel % per_node == 0),
        f"actor_rollout_ref.rollout.tensor_model_parallel_size={parallel} does not divide "
        f"trainer.n_gpus_per_node={per_node}.",
    )
    asks_cpu = config["trainer"]["device"] == "cpu"
    has_platform = config["search_r1"]["env"].get("VERL_PLATFORM") == "cpu"
    _require(
        asks_cpu == has_platform,
        f"trainer.device={config['trainer']['device']} but search_r1.env.VERL_PLATFORM="
        f"{config['search_r1']['env'].get('VERL_PLATFORM')}; the CPU platform needs both.",
    )


def _check_retriever(config: Config) -> None:
    url = config["search_r1"]["retriever"]["client"].get("url")
    _require(
        url is None or str(url).startswith(("http://", "https://")),
        f"search_r1.retriever.client.url={url!r} is not an http address, "
        "such as http://127.0.0.1:8000.",
    )
    _require(
        bool(url or config["search_r1"]["retriever"].get("index")),
        "search_r1.retriever names neither a server that runs (client.url) nor an index to serve "
        "(index).",
    )


_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_lengths,
    _check_turns,
    _check_batches,
    _check_devices,
    _check_retriever,
)
