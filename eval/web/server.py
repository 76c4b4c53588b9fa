"""The address of a page, and the server behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI

from data_prep.steps import DataPrepError

_HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Take a port of this machine; 0 takes a free one. Who connects from now on waits.

    Raises:
        DataPrepError: If it cannot be had.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise DataPrepError(
            f"cannot listen on {_HOST}:{port} ({error}); expected a free port. Stop what uses it, "
            "or give another --port (0 takes a free one)."
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Give the address that a browser on this machine opens."""
    return f"http://{_HOST}:{listener.getsockname()[1]}/"


async def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


def run_until_left(main: Coroutine[Any, Any, None]) -> None:
    """Run what serves a person, who is expected to leave with Ctrl-C."""
    with suppress(KeyboardInterrupt):
        asyncio.run(main)
