"""Build an index folder from a corpus: ``python -m retriever.build --corpus F --index DIR``.

The folder is written under another name beside its place and renamed at the end, so a folder
with the right name is always whole.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from retriever.errors import BuildError, RetrievalError
from retriever.kinds import KINDS, load_kind
from retriever.manifest import Manifest, hash_file, write_manifest
from retriever.options import BuildOptions
from retriever.store import PassageStore, write_store

logger = logging.getLogger(__name__)

_ASIDE = ".building-"


def build_index(
    corpus: Path,
    folder: Path,
    kind: str,
    options: BuildOptions | None = None,
    is_replaced: bool = False,
) -> Manifest:
    """Build an index; on any failure nothing is left behind.

    Args:
        corpus: JSONL file, see ``retriever.corpus``.
        folder: Where the index goes.
        kind: One of ``retriever.kinds.KINDS``.
        options: Encoder, batch size and so on.
        is_replaced: Put the new index in the place of an existing one, once it is ready.

    Raises:
        RetrievalError: If corpus, kind, encoder or place cannot be used.
    """
    index_kind = load_kind(kind)
    _check_place(folder, is_replaced)
    with _written_aside(folder, is_replaced) as aside:
        with _progress("reading", corpus.stat().st_size if corpus.is_file() else 0, "B") as bar:
            passages = write_store(corpus, aside, bar.update)
        store = PassageStore(aside)
        with _progress("indexing", passages, " passages") as bar:
            settings = index_kind.write_index(store, aside, options or BuildOptions(), bar.update)
        store.close()
        manifest = Manifest(kind, passages, hash_file(corpus), settings)
        write_manifest(aside, manifest)
    return manifest


def _check_place(folder: Path, is_replaced: bool) -> None:
    if folder.exists() and not is_replaced:
        raise BuildError(f"{folder} already exists; pass --overwrite to replace it.")
    if folder.exists() and not (folder / "manifest.json").is_file() and any(folder.iterdir()):
        raise BuildError(f"{folder} is no index, so it is not replaced; choose another folder.")


@contextmanager
def _written_aside(folder: Path, is_replaced: bool) -> Iterator[Path]:
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    aside = folder.with_name(f".{folder.name}{_ASIDE}{os.getpid()}")
    aside.mkdir()
    try:
        yield aside
        if is_replaced and folder.exists():
            old = aside.with_name(aside.name + "-old")
            folder.rename(old)
            try:
                aside.rename(folder)
            except OSError:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a build of the same index left when it was killed without notice."""
    for left in folder.parent.glob(f".{folder.name}{_ASIDE}*"):
        pid = left.name.rpartition(_ASIDE)[2].partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _progress(label: str, total: int, unit: str) -> "tqdm[Any]":
    # A log file gets a line every ten seconds, a terminal a moving bar.
    wait_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(desc=label, total=total, unit=unit, unit_scale=unit == "B", mininterval=wait_s)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the index is in place, 2 with one line on stderr when it is not."""
    parsed = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    # Beside other busy processes, OpenMP threads that spin while they wait cost most of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _raise_exit)
    started = time.monotonic()
    try:
        options = BuildOptions(
            encoder=parsed.encoder,
            query_prefix=parsed.query_prefix,
            passage_prefix=parsed.passage_prefix,
            batch_size=parsed.batch_size,
            threads=parsed.threads,
        )
        manifest = build_index(
            parsed.corpus, parsed.index, parsed.kind, options, is_replaced=parsed.overwrite
        )
    except (RetrievalError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written.\n")
        return 130
    logger.info(
        "%s: %s index of %d passages in %.1f s",
        parsed.index,
        manifest.kind,
        manifest.passages,
        time.monotonic() - started,
    )
    return 0


def _raise_exit(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retriever.build", description=__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, required=True, help="JSONL file of passages")
    add("--index", type=Path, required=True, help="folder to make")
    add("--kind", default="flat", help=f"one of: {', '.join(KINDS)} (default: flat)")
    add("--encoder", type=Path, help="sentence-transformers folder, for dense kinds")
    add("--query-prefix", help='before every query, such as "query: " for e5')
    add("--passage-prefix", help='before every passage, such as "passage: " for e5')
    add("--batch-size", type=int, default=64, help="passages encoded together (default: 64)")
    add("--threads", type=int, help="CPU threads (default: every core)")
    add("--overwrite", action="store_true", help="replace an index that is already there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
