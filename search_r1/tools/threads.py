"""Blocking calls beside an event loop, in threads that nothing ever waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def start_thread(function: Callable[[], _T], name: str) -> tuple[threading.Thread, Future[_T]]:
    """Call a function in a new daemon thread.

    A pool would do worse: its threads are joined when the interpreter ends, so that one call that
    hangs keeps the process from ending, and each takes a place that the next call needs.
    """
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # from here on a result is taken, wanted or not

    def run() -> None:
        try:
            result = function()
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:
            # asyncio's futures refuse the first and end the event loop on the others.
            future.set_exception(RuntimeError(f"{name} raised {error!r}"))
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread, future
