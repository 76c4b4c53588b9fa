"""Values of a composed config that only the launcher knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search_r1.client.config import split_urls
from search_r1.launch.compute_dtype import fill_compute_dtype
from search_r1.launch.own_section import STAGES, settle
from search_r1.runs import layout
from search_r1.runs.places import CONFIGS, locate

Config = dict[str, Any]  # a composed config as plain containers, interpolations resolved


def fill(config: Config, run_dir: Path) -> None:
    """Set the run's folders and make local paths absolute, in place.

    Args:
        config: A composed, resolved config.
        run_dir: Folder of the run; need not exist yet.

    Raises:
        UsageError: For a value that a run sets itself, that is ignored, or that is secret.
    """
    settle(config)
    config["search_r1"]["run_dir"] = str(run_dir)
    trainer = config["trainer"]
    trainer["default_local_dir"] = str(run_dir / "checkpoints")
    agent = config["actor_rollout_ref"]["rollout"]["agent"]
    loops = agent.get("agent_loop_config_path")
    agent["agent_loop_config_path"] = locate(loops) if loops else str(CONFIGS / "agent_loops.yaml")
    for model in (config["actor_rollout_ref"]["model"], config["critic"]["model"]):
        for key in ("path", "tokenizer_path", "hf_config_path", "lora_adapter_path"):
            if model.get(key):
                model[key] = locate(model[key])
    tools = (config["search_r1"].get("tools") or {}).values()
    own_files = (
        (config["reward"]["custom_reward_function"], "path"),
        (config["data"]["custom_cls"], "path"),
        (config["search_r1"], "parser_plugin"),
        *((tool, "file") for tool in tools if isinstance(tool, dict)),
        (trainer, "resume_from_path"),
        *((config["search_r1"].get(name) or {}, "questions") for name in STAGES),
    )
    for section, key in own_files:
        if section.get(key) and "://" not in section[key]:  # pkg://a.module is no file
            section[key] = locate(section[key])
    for key in ("train_files", "val_files"):
        files = config["data"][key]
        config["data"][key] = (
            [locate(f) for f in files] if isinstance(files, list) else locate(files)
        )
    retriever = config["search_r1"]["retriever"]
    if retriever.get("index"):
        retriever["index"] = locate(retriever["index"])
    fill_compute_dtype(config)
    _fill_ray(config, run_dir)


def is_remote_cluster(config: Config) -> bool:
    """Tell whether the run joins a Ray cluster that is already there."""
    return config["ray_kwargs"]["ray_init"].get("address") not in (None, "local")


def retriever_urls(config: Config) -> tuple[str, ...]:
    """Give the addresses of the retrieval servers, as the client reads them."""
    return split_urls(config["search_r1"]["retriever"]["client"].get("url") or ())


def uses_critic(config: Config) -> bool:
    """Tell whether the run trains a critic too, by verl's rule."""
    is_enabled = config["critic"].get("enable")
    return config["algorithm"]["adv_estimator"] == "gae" if is_enabled is None else bool(is_enabled)


def uses_reference(config: Config) -> bool:
    """Tell whether the run keeps a reference policy, by verl's rule."""
    is_in_reward = config["algorithm"].get("use_kl_in_reward")
    return bool(is_in_reward or config["actor_rollout_ref"]["actor"].get("use_kl_loss"))


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
        | layout.logger_variables(run_dir)
        | (runtime_env.get("env_vars") or {})
    )
