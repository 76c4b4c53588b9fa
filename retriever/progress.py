"""How far a long command is: a moving bar on a terminal, a plain line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0


class Lines:
    """Logs how much is done, at most once in ``LINE_EVERY_S``; nothing if it is over before."""

    def __init__(
        self, label: str, total: int, unit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin at 0 of ``total``."""
        self._label, self._total, self._unit, self._clock = label, total, unit, clock
        self._done, self._told_at = 0, clock()

    def update(self, more: int) -> None:
        """Count ``more`` as done."""
        self._done += more
        if self._clock() - self._told_at >= LINE_EVERY_S:
            self._told_at = self._clock()
            logger.info("%s: %d of %d %s", self._label, self._done, self._total, self._unit)

    def reset(self) -> None:
        """Begin at 0 again."""
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say nothing more."""


def show_progress(label: str, total: int, unit: str) -> "tqdm[Any] | Lines":
    """Give a context whose ``update`` is told how much more is done.

    Args:
        label: What is being done.
        total: How much there is to do.
        unit: Of what: ``bytes`` are shown in units of a thousand.
    """
    if not sys.stderr.isatty():
        return Lines(label, total, unit)
    return tqdm(desc=label, total=total, unit=f" {unit}", unit_scale=unit == "bytes")
