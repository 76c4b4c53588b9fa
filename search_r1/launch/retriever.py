"""The retrieval server of a run: its command, and whether it is ready."""

from __future__ import annotations

import http.client
import re
import sys
import time
from urllib.parse import urlsplit

from search_r1.client.config import SearchClientConfig
from search_r1.errors import LaunchError
from search_r1.launch.progress.screen import SCREEN
from search_r1.processes.service import HOST, Service


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
