"""A function in a process of its own, which can be killed: threads cannot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.types import Passage

_WORKER = "search_r1.tools.python.worker"
_GRACE_S = 10.0  # after its time-out a call that nobody killed ends its process by itself


class FunctionProcess:
    """One worker process. It answers one call at a time.

    Neither ``fork`` nor ``multiprocessing``: the first is unsafe beside an engine's threads, the
    second would import the engine's main module into every worker.

    Args:
        file: The Python file with the function.
        function: Its name.
        is_converted: Whether JSON values become what the annotations say before the call.
        limits: ``timeout_s`` and ``max_result_chars`` are heeded here too.
    """

    def __init__(self, file: Path, function: str, is_converted: bool, limits: ToolLimits) -> None:
        settings = {
            "is_converted": is_converted,
            "lifetime_s": limits.timeout_s + _GRACE_S,
            "max_chars": limits.max_result_chars,
        }
        rest = [str(file), function, json.dumps(settings)]
        self._command = [sys.executable, "-m", _WORKER, *rest]
        self._function = function
        self._process: subprocess.Popen[str] | None = None
        self._is_killed = False

    @property
    def is_running(self) -> bool:
        """Whether the process takes a call right now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it has imported the file.

        Raises:
            ToolFailedError: If it ends instead.
        """
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # a group of its own, killed as a whole
        )
        if self._is_killed:  # while it was being started
            os.killpg(self._process.pid, signal.SIGKILL)
        self._read_line(self._process)

    def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Call the function and wait for it; :meth:`kill` from another thread ends the wait.

        Raises:
            ToolError: If the function raised it.
            ToolFailedError: If the function raised anything else, or the process ended.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, as reading will tell
            process.stdin.write(json.dumps(dict(arguments)) + "\n")
            process.stdin.flush()
        reply = self._read_line(process)
        if "error" in reply:
            raise ToolError(reply["error"])
        if "failure" in reply:
            raise ToolFailedError(reply["failure"])
        rows = reply["passages"]
        passages = None if rows is None else tuple(Passage(**row) for row in rows)
        return ToolResult(reply["text"], passages)

    def kill(self) -> None:
        """End the process and what it started, at once; it is not to be called again."""
        self._is_killed = True
        process = self._process
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End a process that is not in a call."""
        self.kill()
        if self._process is not None:
            self._process.communicate()

    def _read_line(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ToolFailedError(
                f"the process of {self._function} ended with exit status {process.wait()}; its "
                "error output says why."
            )
        reply: dict[str, Any] = json.loads(line)
        return reply
