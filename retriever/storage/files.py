"""Files that are whole once they have their name; on a full disk writing one is an OSError.

Space is reserved before a file is mapped: writing to a map of a sparse file ends the process when
the disk is full (SIGBUS), and ``np.save`` does not notice that its last few bytes had no room.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNFINISHED = ".part"  # ends the name of a file while it is written


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give another name to write to; the file gets its own after the block, if that ends well."""
    aside = path.with_name(path.name + UNFINISHED)
    yield aside
    aside.replace(path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is seen whole or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def map_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Make a .npy file that is written through the mapped array that is returned.

    Raises:
        OSError: If the disk has no room for all of it.
    """
    open_memmap: Any = np.lib.format.open_memmap  # untyped
    mapped = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write a .npy file that is seen whole or not at all.

    Raises:
        OSError: If the disk has no room for it.
    """
    with written_aside(path) as aside:
        map_array(aside, values.dtype, values.shape)[...] = values
