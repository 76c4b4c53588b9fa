"""Ctrl-C and ``kill`` as an exception, so that every way a run ends goes through its clean-up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from search_r1.errors import StoppedError
from search_r1.processes import marked


@contextmanager
def signals_raise(run_id: str) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into StoppedError; more only speed cleaning up."""
    is_stopping = False

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            marked.send(marked.find_marked(run_id), signal.SIGKILL)
            return
        is_stopping = True
        raise StoppedError(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
