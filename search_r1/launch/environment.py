"""Environment variables of the training driver, which Ray hands on to its workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from search_r1.launch.derive import Config, is_remote_cluster
from search_r1.processes.environment import format_cores
from search_r1.runs import layout


def training_environment(
    config: Config, run_dir: Path, base: Mapping[str, str], ray_dir: Path
) -> dict[str, str]:
    """Give the environment of the training driver; Ray hands it on to its workers.

    Args:
        config: The run's resolved config.
        run_dir: The run's folder.
        base: What every process of the run gets.
        ray_dir: Folder for Ray's sockets and logs; its path must be short.
    """
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_COLOR_PREFIX": "0",
        "HYDRA_FULL_ERROR": "1",
        "RAY_TMPDIR": str(ray_dir),
    }
    if Path(config["actor_rollout_ref"]["model"]["path"]).is_dir():
        defaults["HF_HUB_OFFLINE"] = "1"  # everything is here: ask no hub about it
    environment: dict[str, str] = (
        defaults | dict(base) | config["search_r1"]["env"] | layout.logger_variables(run_dir)
    )
    if config["trainer"]["device"] == "cpu":
        cores = format_cores(os.sched_getaffinity(0))
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    if not is_remote_cluster(config):
        environment.pop("RAY_ADDRESS", None)
    return environment
