"""Give ``torch.cpu`` the functions verl calls on its device module."""

from __future__ import annotations

import resource
from typing import Any

import torch


def _peak_resident_bytes(*_: Any) -> int:
    """Give the peak resident size of this process in bytes: what "memory allocated" means without a device."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mem_get_info(*_: Any) -> tuple[int, int]:
    """Give free and total system memory in bytes, as ``torch.cuda.mem_get_info`` does for a device."""
    import psutil  # noqa: PLC0415  only needed where memory is asked for

    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing: there is no cache, stream or counter to act on."""


def complete_torch_cpu() -> None:
    """Add what is missing to ``torch.cpu``; existing functions stay, and so do checks like ``device == torch.cpu``."""
    missing = {
        "empty_cache": _nothing,
        "ipc_collect": _nothing,
        "reset_peak_memory_stats": _nothing,
        "reset_accumulated_memory_stats": _nothing,
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
        "mem_get_info": _mem_get_info,
        "memory_allocated": _peak_resident_bytes,
        "memory_reserved": _peak_resident_bytes,
        "max_memory_allocated": _peak_resident_bytes,
        "max_memory_reserved": _peak_resident_bytes,
    }
    for name, function in missing.items():
        if not hasattr(torch.cpu, name):
            setattr(torch.cpu, name, function)
