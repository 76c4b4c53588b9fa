"""The processes of a run, found by a marker in their environment, and how to end them.

Ray starts daemons that outlive their parents, so a process tree is not enough. Every process a run
starts inherits ``SEARCH_R1_RUN_ID``; ``SPT_NOENV`` keeps those that rename themselves from wiping
it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from search_r1.runs.places import RUN_ID_VARIABLE

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # looked up now: nothing may be imported between fork and exec


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def marked_environment(run_id: str) -> dict[str, str]:
    """Give the variables by which the processes of a run are found."""
    return {RUN_ID_VARIABLE: run_id, "SPT_NOENV": "1"}


def find_marked(run_id: str) -> list[int]:
    """List the live processes of a run, this process excluded."""
    marker = f"{RUN_ID_VARIABLE}={run_id}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended, or it is somebody else's
                if marker in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def command_of(pid: int) -> str:
    """Give a process's command line, or the title it gave itself; empty once it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def pss_bytes(pid: int) -> int:
    """Give the memory of a process, shared pages split among their users; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def send(pids: Iterable[int], signal_number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal_number)


def wait_until_gone(find: Callable[[], list[int]], timeout_s: float) -> list[int]:
    """Wait until nothing is found any more; give what is left after the timeout."""
    deadline = time.monotonic() + timeout_s
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def end_marked(run_id: str, grace_s: float = 5.0) -> int:
    """End every process of a run: SIGTERM, then SIGKILL after a grace period.

    Returns:
        How many processes there were.
    """

    def find() -> list[int]:
        return find_marked(run_id)

    found = find()
    send(found, signal.SIGTERM)
    while left := wait_until_gone(find, grace_s):
        send(left, signal.SIGKILL)  # again for those started meanwhile
        grace_s = 1.0
    return len(found)
