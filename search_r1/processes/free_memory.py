"""Memory that is free on this machine."""

from __future__ import annotations

from pathlib import Path


def available_memory_bytes() -> int:
    """Give the memory that can be used without swapping, the container's limit considered."""
    available = meminfo_bytes("MemAvailable")
    limits = [cgroup_left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")]
    return min([available, *[left for left in limits if left is not None]])


def meminfo_bytes(name: str) -> int:
    """Give a line of ``/proc/meminfo``; 0 where there is none of this name."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def cgroup_left(limit: str, used: str) -> int | None:
    """Give what a control group leaves, its page cache counted as free; None without a limit."""
    try:
        left = int(Path(limit).read_text()) - int(Path(used).read_text())
        stat = dict(line.split() for line in Path(used).with_name("memory.stat").open())
    except (OSError, ValueError):
        return None
    return left + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
