"""The launcher's output: lines that stay, and one live line below them on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Hashable
from typing import TextIO

_PERIOD_S = 10.0  # between two live lines where nothing can be rewritten
_COLUMNS = 80
_TICK_S = 1.0
_CLEAR = "\r\x1b[K"


class Screen:
    """Writes lines that stay, and shows a live one.

    A terminal rewrites the live line in place. Anything else (a file, a pipe, a ``dumb`` terminal)
    gets it as a plain line when what it tells has changed, at most every ten seconds.

    Args:
        stream: Where to write; stdout as it is at each call when None.
        clock: Seconds since any moment.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._live = ""
        self._content: Hashable = None
        self._shown_at: float | None = None

    def say(self, message: str) -> None:
        """Write a line that stays, at once."""
        self._write(f"{_CLEAR if self._live else ''}{message}\n{self._live}")

    def show(self, text: str, content: Hashable) -> None:
        """Show what is going on now.

        Args:
            text: One line.
            content: What of it counts as a change where lines cannot be rewritten: neither the time
                that has passed nor the time left.
        """
        if self._is_terminal():
            text = text[: self._columns() - 1]  # a line that wraps cannot be rewritten
            if text != self._live:
                self._write(_CLEAR + text)
                self._live = text
            return
        now = self._clock()
        is_due = self._shown_at is None or now - self._shown_at >= _PERIOD_S
        if content != self._content and is_due:
            self._write(text + "\n")
            self._content, self._shown_at = content, now

    def clear(self) -> None:
        """Take the live line away."""
        if self._live:
            self._write(_CLEAR)
        self._live = ""

    def _out(self) -> TextIO:
        return self._stream or sys.stdout

    def _write(self, text: str) -> None:
        self._out().write(text)
        self._out().flush()

    def _is_terminal(self) -> bool:
        return self._out().isatty() and os.environ.get("TERM") != "dumb"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._out().fileno()).columns or _COLUMNS
        except OSError:
            return _COLUMNS


SCREEN = Screen()


def wait_shown(child: subprocess.Popen[bytes], sent: bytes, text: str) -> tuple[bytes, bytes]:
    """Show a terminal that a child is at work until it ends; elsewhere nothing is written.

    Args:
        child: Started with pipes; it is killed if the waiting is broken off.
        sent: What it reads.
        text: What it does.

    Returns:
        What it wrote to stdout and stderr.
    """
    started = time.monotonic()
    unsent: bytes | None = sent
    try:
        while True:
            try:
                return child.communicate(unsent, timeout=_TICK_S)
            except subprocess.TimeoutExpired:
                unsent = None  # it goes on with what it has been given
                passed_s = time.monotonic() - started
                SCREEN.show(f"  {text} ({passed_s:.0f} s)", content=None)
    finally:
        SCREEN.clear()
        if child.poll() is None:
            child.kill()
            child.wait()


def say(message: str) -> None:
    """Print one line at once, above the live line if there is one."""
    SCREEN.say(message)
