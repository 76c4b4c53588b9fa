"""Asks the models of a finished run again: its index served, ``eval.run`` in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.steps import DataPrepError
from search_r1.errors import LaunchError
from search_r1.launch.retriever import retriever_command, wait_ready
from search_r1.processes.environment import base_environment, format_cores
from search_r1.processes.marked import die_with_parent
from search_r1.processes.service import HOST, Service
from search_r1.runs.places import root_dir

_READY_S = 120.0


@contextmanager
def served_index(config: Mapping[str, Any], log: Path) -> Iterator[str]:
    """Serve the index that a run searched; gives the server's address.

    Args:
        config: The run's whole config.
        log: File for what the server says.

    Raises:
        DataPrepError: If the server does not become ready.
    """
    command = retriever_command(config["search_r1"]["retriever"]["index"], 0)
    try:
        with Service("retrieval server", command, log, base_environment(), root_dir()) as server:
            yield f"http://{HOST}:{wait_ready(server, 0, _READY_S)}"
    except LaunchError as error:
        raise DataPrepError(str(error)) from error


def run_evaluation(config: Mapping[str, Any], options: Sequence[str]) -> None:
    """Run ``eval.run`` with these options, in the environment that the run's own evaluation had.

    Raises:
        DataPrepError: If it fails; it has said why.
    """
    environment = base_environment() | config["search_r1"]["env"] | {"HF_HUB_OFFLINE": "1"}
    if config["trainer"]["device"] == "cpu":
        cores = format_cores(os.sched_getaffinity(0))
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    child = subprocess.run(
        [sys.executable, "-m", "eval.run", *options],
        env=environment,
        cwd=root_dir(),
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
        check=False,
    )
    if child.returncode:
        raise DataPrepError("the evaluation stopped; the reason is above, answers are kept.")
