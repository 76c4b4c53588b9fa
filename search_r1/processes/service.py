"""A process that is started here: in its own group, with its own log, stopped with the run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from search_r1.errors import LaunchError
from search_r1.processes.marked import die_with_parent
from search_r1.runs.places import root_dir

HOST = "127.0.0.1"
_TAIL_LINES = 15
_LOGGED = {"TQDM_MININTERVAL": "30"}  # seconds between two states of a bar that goes to a log


class Service:
    """A child process in its own session, so that Ctrl-C reaches the launcher alone.

    Args:
        name: What the user reads in messages.
        command: Program and arguments.
        log: File for its stdout and stderr, appended to.
        env: The whole environment.
        cwd: Its current folder.
        stop_signal: What :meth:`stop` sends first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_LOGGED | dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Process id, which is its group's and session's id too."""
        return self._process.pid

    def poll(self) -> int | None:
        """Give the exit code, or None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Give what this process wrote to its log."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def tail(self) -> str:
        """Give the last lines of the log, indented, for an error message."""
        lines = self.output().strip().splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    {line[:300]}" for line in lines) or "    (it wrote nothing)"

    def stop(self, grace_s: float = 5.0) -> None:
        """End the whole group: its stop signal, then SIGKILL after a grace period."""
        if self._process.poll() is None:
            self._signal(self._stop_signal)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:  # an impatient Ctrl-C must not leave it running
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, signal_number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal_number)

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    """Give a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def run_here(command: str, env: Mapping[str, str]) -> None:
    """Run one of our commands on this terminal to its end, such as ``python -m data_prep.nq``.

    Raises:
        LaunchError: If it fails; it has said why.
    """
    child = subprocess.Popen(
        [sys.executable, *command.split()[1:]],
        env=dict(env),
        cwd=root_dir(),
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    try:
        code = child.wait()
    finally:
        child.send_signal(signal.SIGINT)  # it removes what it has half written
        child.wait()
    if code != 0:
        raise LaunchError(f"{command} failed; the reason is above.")
