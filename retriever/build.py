"""Build an index folder from a corpus: ``python -m retriever.build --corpus F --index DIR``.

The folder is written under another name beside its place and renamed at the end, so a folder
with the right name is always whole. A build that was stopped, or killed, or found the disk full
goes on when the same command is run again, to the same bytes.
"""

import logging
import signal
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from retriever.build_options import parse_arguments, read_options
from retriever.encoders.encoder import check_encoder_folder, fingerprint
from retriever.environment import prepare_libraries
from retriever.errors import BuildError, CorpusError, RetrievalError
from retriever.indexes.kinds import AUTO, load_kind, resolve_kind
from retriever.interrupts import restore_interrupts
from retriever.options import BuildOptions
from retriever.progress import show_progress
from retriever.storage.build_folder import aside_of, build_folder, check_place
from retriever.storage.manifest import FileFacts, Manifest, hash_file, write_manifest
from retriever.storage.passages import RANK, PassageStore, write_store

logger = logging.getLogger("retriever.build")  # not __main__, which nobody listens to

# They change how fast vectors are made, not which.
_NOT_IN_PLAN = ("encoder", "threads", "devices")


def build_index(
    corpus: Path,
    folder: Path,
    kind: str,
    options: BuildOptions | None = None,
    is_replaced: bool = False,
    ray_address: str | None = None,
) -> Manifest:
    """Build an index, going on where an interrupted build of it stopped.

    Args:
        corpus: JSONL file, see ``retriever.storage.corpus``.
        folder: Where the index goes.
        kind: One of ``retriever.indexes.kinds.KINDS``, or auto.
        options: Encoder, batch size and so on.
        is_replaced: Put the new index in the place of an existing one, once it is ready.
        ray_address: Encode on this Ray cluster; "auto" takes the one at hand or starts one here.

    Raises:
        RetrievalError: If corpus, kind, encoder or place cannot be used; nothing is left behind,
            unless vectors were encoded already.
        OSError: If files cannot be written; what is finished stays for the next attempt.
    """
    options = options or BuildOptions()
    check_place(folder, is_replaced)
    _check_early(corpus, kind, options, ray_address)
    source = _hash_corpus(corpus)
    with build_folder(folder, _make_plan(source, kind, options), is_replaced) as aside:
        if not (aside / RANK).exists():
            with show_progress("reading", source.bytes, "bytes") as bar:
                write_store(corpus, aside, bar.update)
        with closing(PassageStore(aside)) as store:
            kind = resolve_kind(kind, len(store), options)
            with show_progress("indexing", len(store), "passages") as bar:
                if ray_address:
                    from retriever.encoders.encode_ray import encode_with_ray

                    encode_with_ray(store, aside, options, ray_address, bar.update)
                    bar.reset()
                settings = load_kind(kind).write_index(store, aside, options, bar.update)
            manifest = Manifest(kind, len(store), source, settings)
        size = sum(path.stat().st_size for path in aside.iterdir())
        with show_progress("checksums", size, "bytes") as bar:
            write_manifest(aside, manifest, bar.update)
    return manifest


def _check_early(corpus: Path, kind: str, options: BuildOptions, ray_address: str | None) -> None:
    """Find what would stop the build later on, before a large corpus is read."""
    if not corpus.is_file():
        raise CorpusError(f"no corpus file at {corpus}; give a JSONL file of passages.")
    if kind != AUTO:
        load_kind(kind)
    if kind not in ("bm25", AUTO) and options.encoder is None:
        raise BuildError(f"a {kind} index needs an encoder; give its folder with --encoder.")
    if ray_address and options.encoder is None:
        raise BuildError("--ray encodes vectors, and no encoder was given; add --encoder FOLDER.")
    if ray_address and kind == "bm25":
        raise BuildError("--ray encodes vectors, which a bm25 index has none of; leave it out.")
    if options.encoder is not None:
        check_encoder_folder(options.encoder)


def _make_plan(source: FileFacts, kind: str, options: BuildOptions) -> dict[str, Any]:
    chosen = {name: at for name, at in asdict(options).items() if name not in _NOT_IN_PLAN}
    encoder = fingerprint(options.encoder) if options.encoder else None
    return {"corpus": asdict(source), "kind": kind, "encoder": encoder, "options": chosen}


def _hash_corpus(corpus: Path) -> FileFacts:
    with show_progress("checking", corpus.stat().st_size, "bytes") as bar:
        return hash_file(corpus, bar.update)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the index is in place, 2 with one line on stderr when it is not."""
    parsed = parse_arguments(arguments, __doc__)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("retriever").setLevel(logging.INFO)
    prepare_libraries()
    restore_interrupts()
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        manifest = build_index(
            parsed.corpus,
            parsed.index,
            parsed.kind,
            read_options(parsed),
            is_replaced=parsed.overwrite,
            ray_address=parsed.ray,
        )
    except (RetrievalError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n{_what_is_left(parsed.index)}")
        return 2
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"stopped.\n{_what_is_left(parsed.index)}")
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    logger.info(
        "%s: %s index of %d passages in %.1f s",
        parsed.index,
        manifest.kind,
        manifest.passages,
        time.monotonic() - started,
    )
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signum)


def _what_is_left(folder: Path) -> str:
    aside = aside_of(folder)
    if not aside.exists():
        return ""
    return f"The finished part is in {aside}; run the same command again to go on.\n"


if __name__ == "__main__":
    sys.exit(main())
