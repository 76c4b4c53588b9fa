"""Passes of a model over a batch that tell how far they are, micro-batch by micro-batch.

The worker knows neither the step nor what the pass is for, so the trainer marks the batch; a batch
without marks is not reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from verl.utils import tensordict_utils

from search_r1.runs.progress import RUN_DIR_VARIABLE, ProgressFile

_STAGE, _STEP, _PASSES = "progress_stage", "progress_step", "progress_passes"
Prepare = Callable[..., tuple[Any, Any]]


def mark(extra: MutableMapping[str, Any], stage: str, step: int, num_passes: int) -> None:
    """Mark a batch for the worker.

    Args:
        extra: What travels with the batch beside its rows.
        stage: What the passes are for.
        step: The training step.
        num_passes: Mini-batches the worker will make of it, those of every epoch counted.
    """
    extra.update({_STAGE: stage, _STEP: step, _PASSES: num_passes})


class ReportedBatches(list[Any]):
    """Micro-batches that report as they are taken, and once more when all are done."""

    def __init__(self, micro_batches: Any, report: Callable[[int], None]) -> None:
        super().__init__(micro_batches)
        self._report = report

    def __iter__(self) -> Iterator[Any]:
        for number, micro_batch in enumerate(super().__iter__()):
            self._report(number)
            yield micro_batch
        self._report(len(self))


class PassProgress:
    """Counts the micro-batches of one process over the passes of a stage.

    Args:
        file: Where they are reported.
    """

    def __init__(self, file: ProgressFile) -> None:
        self._file = file
        self._place: tuple[str, int] | None = None
        self._num_before = 0  # micro-batches of the passes that are done
        self._num_passes_done = 0

    def reported(self, data: Any, micro_batches: Any) -> Any:
        """Give the micro-batches of one pass such that going through them is reported."""
        stage = tensordict_utils.get_non_tensor_data(data, _STAGE, default=None)
        if stage is None:
            return micro_batches
        step = tensordict_utils.get_non_tensor_data(data, _STEP, default=None)
        num_passes = tensordict_utils.get_non_tensor_data(data, _PASSES, default=1)
        if self._place != (stage, step) or self._num_passes_done >= num_passes:
            self._place, self._num_before, self._num_passes_done = (stage, step), 0, 0
        before, size = self._num_before, len(micro_batches)
        total = before + size * (num_passes - self._num_passes_done)
        self._num_before += size
        self._num_passes_done += 1
        return ReportedBatches(
            micro_batches,
            lambda done: self._file.report(stage, before + done, total, step=step),
        )


def reporting(prepare: Prepare) -> Prepare:
    """Wrap verl's ``prepare_micro_batches`` so that this process reports its passes."""
    progress = PassProgress(ProgressFile(os.environ.get(RUN_DIR_VARIABLE), "worker"))

    def prepare_reported(data: Any, **options: Any) -> tuple[Any, Any]:
        micro_batches, indices = prepare(data=data, **options)
        return progress.reported(data, micro_batches), indices

    return prepare_reported
