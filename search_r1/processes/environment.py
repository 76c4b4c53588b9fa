"""The environment of the processes that are started here."""

from __future__ import annotations

import os
from collections.abc import Iterable

from search_r1.runs.places import root_dir

_DEVICE_CHOICES = frozenset({"VERL_PLATFORM", "VERL_ENGINE_DEVICE", "VLLM_TARGET_DEVICE"})


def base_environment() -> dict[str, str]:
    """Give our own environment, with this checkout importable from any folder.

    What chooses the device is left out: only the preset's ``search_r1.env`` may.
    """
    paths = [str(root_dir()), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name not in _DEVICE_CHOICES}
    return inherited | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def format_cores(cores: Iterable[int]) -> str:
    """Write core numbers the way vLLM reads them, such as ``0-1`` or ``0,2-3``."""
    ranges: list[list[int]] = []
    for core in sorted(cores):
        if ranges and core == ranges[-1][-1] + 1:
            ranges[-1][-1:] = [core] if len(ranges[-1]) > 1 else [ranges[-1][0], core]
        else:
            ranges.append([core])
    return ",".join("-".join(map(str, group)) for group in ranges)
