"""Ends the processes of a run when the launcher is gone without having done so.

A signal from the kernel reaches the launcher's own children only; Ray's daemons and workers are not
among them. The guardian waits on a pipe that closes with the launcher, even after ``kill -9``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from search_r1.processes.marked import end_marked

_FAREWELL = b"done\n"


class Guardian:
    """A small process that outlives the launcher just long enough to clean up after it.

    Args:
        run_id: Marks the processes to end.
        folder: A temporary folder to remove after them.
    """

    def __init__(self, run_id: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "search_r1.processes.guardian", run_id, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must not reach it
        )

    @property
    def pid(self) -> int:
        """Process id, for the sum of memory."""
        return self._process.pid

    def dismiss(self) -> None:
        """Let it end without doing anything: the launcher has cleaned up."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_FAREWELL)
            self._process.stdin.close()
        except BrokenPipeError:  # somebody ended it
            pass
        self._process.wait()


def main() -> int:
    """Wait until the launcher is gone, then end what it left."""
    if sys.stdin.buffer.read() != _FAREWELL:
        end_marked(sys.argv[1])
        shutil.rmtree(sys.argv[2], ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
