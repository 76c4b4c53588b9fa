"""The folder that a build writes: aside, resumable, renamed to its place when it is whole.

For an index ``wiki`` it is ``.wiki.building`` beside it, with ``build.json`` saying what is being
built. A build that is stopped or killed leaves it, and the same build goes on there.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from retriever.errors import BuildError, RetrievalError
from retriever.storage.files import UNFINISHED, write_whole
from retriever.storage.manifest import NAME as MANIFEST
from retriever.storage.manifest import PLAN
from retriever.storage.vectors import ENCODED

logger = logging.getLogger(__name__)


def aside_of(folder: Path) -> Path:
    """Return where the index of a folder is built."""
    return folder.absolute().with_name(f".{folder.absolute().name}.building")


def check_place(folder: Path, is_replaced: bool) -> None:
    """Refuse to build where something else is.

    Raises:
        BuildError: If the folder exists and may not be replaced, or is no index.
    """
    if folder.exists() and not is_replaced:
        raise BuildError(f"{folder} already exists; pass --overwrite to replace it.")
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise BuildError(f"{folder} is no index, so it is not replaced; choose another folder.")


@contextmanager
def build_folder(folder: Path, plan: dict[str, Any], is_replaced: bool) -> Iterator[Path]:
    """Give the folder to write into, and put it in its place after the block.

    What is finished stays there if the block is stopped or cannot write; bad input leaves
    nothing, unless vectors were encoded already.

    Args:
        folder: Where the index goes.
        plan: What is built; an unfinished build with another plan is removed.
        is_replaced: Put the new index in the place of an existing one.

    Raises:
        BuildError: If something else is in the place, or another build of the same index is
            running.
    """
    aside = aside_of(folder)
    aside.parent.mkdir(parents=True, exist_ok=True)
    with _locked(aside.with_name(aside.name + ".lock"), folder):
        _end_replacement(_old_of(aside), folder)
        check_place(folder, is_replaced)
        _take_up(aside, plan)
        try:
            yield aside
        except (RetrievalError, ValueError):
            if not (aside / ENCODED).exists():
                shutil.rmtree(aside)
            raise
        _put_in_place(aside, folder)
        (folder / PLAN).unlink()


def _take_up(aside: Path, plan: dict[str, Any]) -> None:
    """Keep what an interrupted build with the same plan left; start anew otherwise."""
    wanted = orjson.dumps(plan, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    path = aside / PLAN
    if path.is_file() and path.read_bytes() == wanted:
        logger.info("going on with the build that was interrupted in %s", aside)
        for torn in aside.glob(f"*{UNFINISHED}"):
            torn.unlink()
        return
    if aside.exists():
        logger.warning("removing %s: what was being built there is something else", aside)
        shutil.rmtree(aside)
    aside.mkdir()
    write_whole(path, wanted)


def _old_of(aside: Path) -> Path:
    return aside.with_name(aside.name + "-old")


def _end_replacement(old: Path, folder: Path) -> None:
    """Tidy up after a replacement that was killed: before its second rename, or after it."""
    if not old.exists():
        return
    if folder.exists():
        shutil.rmtree(old)
    else:
        logger.warning("putting %s back: its replacement was interrupted", folder)
        old.rename(folder)


def _put_in_place(aside: Path, folder: Path) -> None:
    if not folder.exists():
        aside.rename(folder)
        return
    old = _old_of(aside)
    folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it however this process ends."""
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BuildError(
                f"another build of {folder} is running ({path} is locked); wait for it or stop it."
            ) from error
        # The last holder removes the file, perhaps after it was opened here.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()
    try:
        yield
    finally:
        path.unlink()
        file.close()
