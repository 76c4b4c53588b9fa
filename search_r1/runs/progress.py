"""How far a run's processes are: each writes one small file, and the launcher adds them up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = "progress"
RUN_DIR_VARIABLE = "SEARCH_R1_RUN_DIR"  # names the run's folder to processes that see no config
_PERIOD_S = 0.5  # between two writes of a process; a person sees nothing faster


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done, by one process or by all that report the same stage and step."""

    stage: str
    """What is being done: ``start``, ``cold_start``, ``evaluate``, ``rollout``, ``update``, ..."""
    done: int
    """How much of it is done."""
    total: int
    """How much there is; 0 when this process does not know, and in a sum when none does."""
    step: int | None = None
    """The training step it belongs to."""
    steps: int | None = None
    """Steps the run is meant to have."""
    counts: dict[str, float] = field(default_factory=dict)
    """What else was counted in this stage so far, such as ``searches``."""
    began_at: float = 0.0
    """When the stage began, in seconds since the epoch."""
    written_at: float = 0.0
    """When this was reported."""


class ProgressFile:
    """One process's file in the run's folder; a report that cannot be written is dropped.

    Args:
        run_dir: Folder of the run; without one every report is dropped.
        role: What this process is, such as ``trainer``; with its id the name of the file.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, run_dir: Path | str | None, role: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(run_dir) / FOLDER / f"{role}-{os.getpid()}.json" if run_dir else None
        self._clock = clock
        self._place: tuple[str, int | None] | None = None
        self._began_at = 0.0
        self._written_at = 0.0

    def report(
        self,
        stage: str,
        done: int,
        total: int,
        step: int | None = None,
        steps: int | None = None,
        is_forced: bool = False,
        **counts: float,
    ) -> None:
        """Write how far this process is, whole or not at all, at most twice a second.

        The first report of a stage and a report that all is done are always written.

        Args:
            stage: What is being done.
            done: How much of it is done by this process.
            total: How much there is. Where several processes share the work, either each gives its
                part, or one gives the whole and the others 0: the launcher adds them up.
            step: The training step it belongs to.
            steps: Steps the run is meant to have.
            is_forced: Write it however recent the last one is.
            **counts: What else was counted in this stage so far, such as ``searches``.
        """
        if self._path is None:
            return
        now = self._clock()
        is_new = (stage, step) != self._place
        if is_new:
            self._place, self._began_at = (stage, step), now
        is_whole = total > 0 and done >= total
        if not (is_new or is_whole or is_forced) and 0 <= now - self._written_at < _PERIOD_S:
            return
        self._written_at = now
        state = Progress(stage, done, total, step, steps, counts, self._began_at, now)
        partial = self._path.with_suffix(".partial")
        with suppress(OSError):  # a full disk costs the display, not the run
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(asdict(state)), encoding="utf-8")
            partial.replace(self._path)


def read_progress(run_dir: Path, since: float = 0.0) -> Progress | None:
    """Give the newest state, summed over the processes that report its stage and step.

    Args:
        run_dir: Folder of the run.
        since: Seconds since the epoch; what was reported before is passed over.

    Returns:
        The sum; None when no process has reported, or none can be read.
    """
    states = [state for state in _read_states(run_dir / FOLDER) if state.written_at >= since]
    if not states:
        return None
    newest = max(states, key=lambda state: state.written_at)
    same = [s for s in states if (s.stage, s.step) == (newest.stage, newest.step)]
    names = dict.fromkeys(name for state in same for name in state.counts)
    return Progress(
        stage=newest.stage,
        done=sum(state.done for state in same),
        total=sum(state.total for state in same),
        step=newest.step,
        steps=next((state.steps for state in same if state.steps), None),
        counts={name: sum(state.counts.get(name, 0) for state in same) for name in names},
        began_at=min(state.began_at for state in same),
        written_at=newest.written_at,
    )


def _read_states(folder: Path) -> Iterator[Progress]:
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):  # torn, or another version's
            yield Progress(**json.loads(path.read_text(encoding="utf-8")))
