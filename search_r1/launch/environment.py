"""Environment variables of the processes of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from search_r1.launch import runs
from search_r1.launch.derive import Config, is_remote_cluster
from search_r1.launch.places import root_dir

_DEVICE_CHOICES = frozenset({"VERL_PLATFORM", "VERL_ENGINE_DEVICE", "VLLM_TARGET_DEVICE"})


def base_environment() -> dict[str, str]:
    """Give our own environment, with this checkout importable from any folder.

    What chooses the device is left out: only the preset's ``search_r1.env`` may.
    """
    paths = [str(root_dir()), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name not in _DEVICE_CHOICES}
    return inherited | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


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
        defaults | dict(base) | config["search_r1"]["env"] | runs.logger_variables(run_dir)
    )
    if config["trainer"]["device"] == "cpu":
        cores = format_cores(os.sched_getaffinity(0))
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    if not is_remote_cluster(config):
        environment.pop("RAY_ADDRESS", None)
    return environment


def format_cores(cores: Iterable[int]) -> str:
    """Write core numbers the way vLLM reads them, such as ``0-1`` or ``0,2-3``."""
    ranges: list[list[int]] = []
    for core in sorted(cores):
        if ranges and core == ranges[-1][-1] + 1:
            ranges[-1][-1:] = [core] if len(ranges[-1]) > 1 else [ranges[-1][0], core]
        else:
            ranges.append([core])
    return ",".join("-".join(map(str, group)) for group in ranges)
