"""manifest.json: what an index folder holds, and the checks made before it is served."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from retriever.errors import BadIndexError
from retriever.storage.files import write_whole

NAME = "manifest.json"
PLAN = "build.json"  # what is being built, while it is
FORMAT_VERSION = 2
FULL_CHECK_BYTES = 2**30  # larger files are hashed on request only

_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size and checksum of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was built, from what, and how to tell that it is still whole."""

    kind: str
    """Index kind, such as flat or bm25."""
    passages: int
    """How many passages the index holds."""
    corpus: FileFacts
    """The corpus file as it was read."""
    settings: dict[str, Any]
    """Whatever the index kind needs to search the way it was built."""
    files: dict[str, FileFacts] = field(default_factory=dict)
    """Every other file of the folder, by name."""
    format_version: int = FORMAT_VERSION
    """Raised when older code could not read the folder, or this code not an older one."""


def hash_file(path: Path, on_bytes: Callable[[int], object] = lambda _bytes: None) -> FileFacts:
    """Measure one file, reading it once."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            on_bytes(len(block))
    return FileFacts(size, digest.hexdigest())


def hash_folder(folder: Path, suffixes: Iterable[str]) -> str:
    """Give one checksum for all files below a folder that have one of the suffixes."""
    digest = hashlib.sha256()
    wanted = set(suffixes)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in wanted):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{hash_file(path).sha256}\n".encode())
    return digest.hexdigest()


def write_manifest(
    folder: Path, manifest: Manifest, on_bytes: Callable[[int], object] = lambda _bytes: None
) -> None:
    """Write the manifest, which names every file of the folder with its checksum."""
    named = sorted(path for path in folder.iterdir() if path.name not in (NAME, PLAN))
    files = {path.name: asdict(hash_file(path, on_bytes)) for path in named}
    row = asdict(manifest) | {"files": files}
    write_whole(folder / NAME, orjson.dumps(row, option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read what an index folder says of itself.

    Raises:
        BadIndexError: If there is no readable manifest of this format.
    """
    path = folder / NAME
    if not path.is_file():
        raise BadIndexError(
            f"no index at {folder} ({NAME} is missing); "
            f"make one with: python -m retriever.build --corpus FILE --index {folder} --kind flat"
        )
    try:
        row = orjson.loads(path.read_bytes())
        version = row["format_version"]
        if version == FORMAT_VERSION:
            row["corpus"] = FileFacts(**row["corpus"])
            row["files"] = {name: FileFacts(**facts) for name, facts in row["files"].items()}
            return Manifest(**row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadIndexError(f"{path} cannot be read ({error!r}); build the index again.") from error
    raise BadIndexError(
        f"{path} has format {version}, this version reads {FORMAT_VERSION}; build the index again."
    )


def check_files(folder: Path, manifest: Manifest, verify: bool = False) -> None:
    """Compare the folder with its manifest: sizes always, checksums below 1 GiB.

    Args:
        folder: The index folder.
        manifest: What it should hold.
        verify: Compute the checksums of larger files too.

    Raises:
        BadIndexError: For the first file that is missing, cut short, or altered.
    """
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BadIndexError(f"{path} is missing; build the index again.")
        size = path.stat().st_size
        if size != facts.bytes:
            raise BadIndexError(
                f"{path} has {size} bytes, its manifest says {facts.bytes}: "
                "the file is torn; build the index again or copy it again."
            )
        is_checked = verify or size < FULL_CHECK_BYTES
        if is_checked and (found := hash_file(path).sha256) != facts.sha256:
            raise BadIndexError(
                f"{path} has sha256 {found[:12]}..., its manifest says {facts.sha256[:12]}...: "
                "the file was altered; build the index again or copy it again."
            )
