"""Processes the launcher starts: each in its own group, with its own log, stopped with the run."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from search_r1.client.config import SearchClientConfig
from search_r1.launch.environment import base_environment
from search_r1.launch.errors import LaunchError
from search_r1.launch.places import root_dir
from search_r1.launch.processes import die_with_parent
from search_r1.launch.screen import SCREEN

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


def retriever_command(index: str, port: int) -> list[str]:
    """Give the command that serves an index; port 0 has the server take a free one."""
    server = [sys.executable, "-m", "retriever.server", "--index", index]
    return [*server, "--host", HOST, "--port", str(port)]


def ready_status(url: str, timeout_s: float = 2.0) -> int | None:
    """Ask a retrieval server whether it takes requests, with the token of our environment.

    Args:
        url: Its address, http or https, without ``/ready``.
        timeout_s: How long to wait for the answer.

    Returns:
        The HTTP status; None when nothing that speaks HTTP answers.
    """
    parts = urlsplit(url)
    is_https = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    token = SearchClientConfig().read_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/ready", headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_ready(service: Service, port: int, timeout_s: float) -> int:
    """Wait until a server answers ``/ready`` at the address its own log names.

    Args:
        service: The server; it logs ``... at http://HOST:PORT`` once it listens.
        port: The port it was told to take; 0 for one of its choice.
        timeout_s: How long to wait.

    Returns:
        The port.

    Raises:
        LaunchError: When it ends or does not answer in time, with the end of its log.
    """
    try:
        return _wait_ready(service, port, timeout_s)
    finally:
        SCREEN.clear()


def _wait_ready(service: Service, port: int, timeout_s: float) -> int:
    started = time.monotonic()
    deadline = started + timeout_s
    while True:
        SCREEN.show(f"  {service.name} ({time.monotonic() - started:.0f} s)", content=None)
        named = _logged_port(service)
        is_ready = named and ready_status(f"http://{HOST}:{named}") == http.client.OK
        if (code := service.poll()) is not None:
            raise LaunchError(
                f"the {service.name} ended with exit code {code} before it was ready. "
                f"The end of {service.log}:\n{service.tail()}"
            )
        if named and is_ready and port in (0, named):
            return named
        if time.monotonic() > deadline:
            raise LaunchError(
                f"the {service.name} was not ready after {timeout_s:.0f} s. "
                f"The end of {service.log}:\n{service.tail()}"
            )
        time.sleep(0.2)


def _logged_port(service: Service) -> int | None:
    found = re.findall(r" at http://\S+:(\d+)$", service.output(), re.MULTILINE)
    return int(found[-1]) if found else None


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


def summarize(run_dir: Path, is_shown: bool) -> None:
    """Write a run's summary and plots in a child that may import what it needs.

    Args:
        run_dir: Folder of the run.
        is_shown: Whether its table is printed.

    Raises:
        LaunchError: If it fails; it has said why.
    """
    command = [sys.executable, "-m", "search_r1.launch.summary", str(run_dir)]
    output = None if is_shown else subprocess.DEVNULL
    if subprocess.run(command, env=base_environment(), stdout=output, check=False).returncode:
        raise LaunchError(
            "training is done, but summing it up failed (the reason is above). Try again with: "
            f"python -m search_r1.launch.summary {run_dir}"
        )
