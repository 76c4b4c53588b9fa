"""Readers of what a run leaves: files and processes."""

import json
import os
import time


def read_lines(path):
    """Read a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def processes_marked(variable, value, timeout_s):
    """List processes whose environment has a variable, after giving them time to end."""
    deadline = time.monotonic() + timeout_s
    while (found := _find(f"{variable}={value}".encode())) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _find(marker):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if marker in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return found
