"""Give ``torch.cpu`` the functions verl calls on its device module."""

from __future__ import annotations

import resource
from typing import Any

import torch


def _peak_resident_bytes(*_: Any) -> int:
    """Give this process's peak resident bytes: "memory allocated" without a device."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mem_get_info(*_: Any) -> tuple[int, int]:
    """Give free and total system memory in bytes, as ``torch.cuda.mem_get_info`` does."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing: there is no cache, stream or counter to act on."""


def complete_torch_cpu() -> None:
    """Add what is missing to ``torch.cpu``; it stays the module ``device == torch.cpu`` means."""
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
