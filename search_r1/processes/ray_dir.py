"""Ray's temporary folder: its sockets need a short path, and its logs are kept when a run fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def make() -> Path:
    """Make a folder whose path leaves room for Ray's sockets, which may have 107 characters."""
    configured = tempfile.gettempdir()
    place = configured if len(os.fsencode(configured)) <= 20 else "/tmp"
    return Path(tempfile.mkdtemp(prefix="sr1_", dir=place))


def drop(folder: Path, logs_to: Path | None) -> None:
    """Remove the folder.

    Args:
        folder: What :func:`make` gave.
        logs_to: Where Ray's logs go first; None drops them too.
    """
    logs = folder / "ray" / "session_latest" / "logs"
    if logs_to is not None and logs.is_dir():
        shutil.copytree(logs, logs_to, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(folder, ignore_errors=True)
