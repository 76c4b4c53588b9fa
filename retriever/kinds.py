"""The index kinds that exist, and how an index folder is opened."""

import importlib
from pathlib import Path
from types import ModuleType

from retriever.errors import BadIndexError
from retriever.manifest import Manifest, check_files, read_manifest
from retriever.options import OpenOptions
from retriever.store import PassageStore
from retriever.types import Retriever

# Modules by name, so that serving one kind does not import what another needs (BM25: no torch).
# Each has write_index(store, folder, options, on_passages) and open_index(folder, manifest,
# store, options).
KINDS = {"bm25": "retriever.bm25", "flat": "retriever.dense"}


def load_kind(kind: str) -> ModuleType:
    """Import the module of an index kind.

    Raises:
        BadIndexError: If there is no such kind; the message lists those that exist.
    """
    if kind not in KINDS:
        raise BadIndexError(f"unknown index kind {kind!r}; choose one of: {', '.join(KINDS)}.")
    return importlib.import_module(KINDS[kind])


def open_retriever(folder: Path, options: OpenOptions | None = None) -> Retriever:
    """Open an index folder for searching, after checking that it is whole.

    Raises:
        BadIndexError: If a file is missing, torn or altered.
        EncoderError: If the encoder is missing or is another one.
    """
    options = options or OpenOptions()
    manifest = read_manifest(folder)
    check_files(folder, manifest, options.is_verified)
    store = _open_store(folder, manifest)
    retriever: Retriever = load_kind(manifest.kind).open_index(folder, manifest, store, options)
    return retriever


def _open_store(folder: Path, manifest: Manifest) -> PassageStore:
    store = PassageStore(folder)
    if len(store) != manifest.passages:
        raise BadIndexError(
            f"{folder} holds {len(store)} passages, its manifest says {manifest.passages}; "
            "build the index again."
        )
    return store
