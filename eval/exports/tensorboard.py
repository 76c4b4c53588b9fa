"""TensorBoard scalars: every figure of a result, by group of questions."""

from __future__ import annotations

from pathlib import Path

from data_prep.steps import DataPrepError
from eval.measures import Result, figures, group_names


def write(result: Result, folder: Path) -> list[Path]:
    """Write a folder ``NAME`` that ``tensorboard --logdir`` shows as a run.

    Raises:
        DataPrepError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DataPrepError(
            f"--to tensorboard needs the packages torch and tensorboard ({error}); install them."
        ) from error
    target = folder / result.name
    with SummaryWriter(str(target)) as writer:
        for group in group_names([result]):
            for name, one in figures(result.of(group)).items():
                writer.add_scalar(f"{name}/{group}", one.value, 0)
                writer.add_scalar(f"{name}/{group}/low", one.low, 0)
                writer.add_scalar(f"{name}/{group}/high", one.high, 0)
    return [target]
