"""What every data_prep command shares: errors, plain messages, timing, safe writing."""

import contextlib
import errno
import fcntl
import hashlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from retriever.interrupts import restore_interrupts

RECEIPT_NAME = "manifest.json"
_TICK_S = 10.0
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class DataPrepError(Exception):
    """Something the user can act on; the message says what to do next."""


def say(message: str) -> None:
    """Print one line at once, so that a log shows it while the step is running."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how long it took when it succeeded."""
    say(f"- {title} ...")
    started_s = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - started_s:.1f} s")


class Ticker:
    """Says how far something is, at most every ten seconds: what a log file gets for a bar."""

    def __init__(self) -> None:
        """Wait with the first line too."""
        self._told_s = time.monotonic()

    def tell(self, message: str) -> None:
        """Print a line if it is time for one."""
        if time.monotonic() - self._told_s >= _TICK_S:
            self._told_s = time.monotonic()
            say(message)


def run_command(main: Callable[[], None]) -> int:
    """Run a command; return its exit code and print an expected failure as one line.

    Returns:
        0 on success, 1 for a ``DataPrepError`` or a full disk, 130 after Ctrl-C. SIGTERM ends
        the process with 143 after the same tidying up. Any other exception is a bug and
        propagates with its traceback.
    """
    restore_interrupts()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        main()
    except DataPrepError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        sys.stderr.write(f"error: {error}. Free some disk space and run the command again.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing half-written was kept. Run it again.\n")
        return 130
    return 0


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; a second one waits until the first is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another data_prep process is using {folder}; waiting for it to finish.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_disk(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Fail before the work starts when the disk under ``folder`` cannot take its result."""
    folder.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DataPrepError(
            f"too little disk space for {purpose}: {folder} has {free_bytes / 1e9:.2f} GB free, "
            f"{needed_bytes / 1e9:.2f} GB are needed. Free some space, or set "
            "SEARCH_R1_ARTIFACTS to a folder on a larger disk."
        )


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into that becomes ``target`` only if the block succeeds.

    An existing ``target`` is replaced whole; on failure or Ctrl-C it stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            replaced = target.parent / f".{target.name}.replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
            partial.rename(target)
            shutil.rmtree(replaced)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_receipt(folder: Path, inputs: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Record beside the files what they were made from, and the checksum of each.

    Args:
        folder: Folder whose files are listed; call it when they are all written.
        inputs: What decides the content (checksums, versions, settings). JSON values only.
        facts: Anything else worth keeping: counts, licences.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECEIPT_NAME
    }
    receipt = {"inputs": dict(inputs), **facts, "files": files}
    text = json.dumps(receipt, indent=2, ensure_ascii=False)
    (folder / RECEIPT_NAME).write_text(text + "\n", encoding="utf-8")


def read_receipt(folder: Path) -> dict[str, Any]:
    """Read what ``write_receipt`` wrote; an absent or unreadable one is an empty dict."""
    try:
        receipt = json.loads((folder / RECEIPT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def is_current(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """True when ``folder`` was made from exactly ``inputs`` and no file of it has changed."""
    receipt = read_receipt(folder)
    files = receipt.get("files")
    if receipt.get("inputs") != dict(inputs) or not isinstance(files, dict) or not files:
        return False
    return all(
        (folder / name).is_file() and sha256_of(folder / name) == digest
        for name, digest in files.items()
    )
