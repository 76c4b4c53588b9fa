"""The index kinds that exist, and how an index folder is opened."""

import importlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from retriever.errors import BadIndexError
from retriever.indexes.sizing import choose_kind
from retriever.options import BuildOptions, OpenOptions, check_choices
from retriever.storage.manifest import Manifest, check_files, read_manifest
from retriever.storage.passages import PassageStore
from retriever.types import Retriever

logger = logging.getLogger(__name__)

AUTO = "auto"

# Modules by name, so that serving one kind does not import what another needs (BM25: no torch).
_MODULES = {
    "bm25": "retriever.indexes.bm25",
    "flat": "retriever.indexes.dense",
    "ivf": "retriever.indexes.dense",
    "ivfpq": "retriever.indexes.dense",
    "hnsw": "retriever.indexes.dense",
    "hybrid": "retriever.indexes.hybrid",
}
KINDS = tuple(_MODULES)

_OPEN_CHOICES: dict[str, tuple[str, ...]] = {
    "bm25": (),
    "flat": ("encoder", "device"),
    "ivf": ("encoder", "device", "nprobe"),
    "ivfpq": ("encoder", "device", "nprobe", "refine_factor"),
    "hnsw": ("encoder", "ef_search"),
    "hybrid": ("encoder", "device"),
}


class IndexKind(NamedTuple):
    """How one kind is built and opened."""

    write_index: Callable[..., dict[str, Any]]
    """(store, folder, options, on_passages) to the settings for the manifest."""
    open_index: Callable[[Path, Manifest, PassageStore, OpenOptions], Retriever]
    """Opens what ``write_index`` wrote."""


def load_kind(kind: str) -> IndexKind:
    """Import the module of an index kind.

    Raises:
        BadIndexError: If there is no such kind; the message lists those that exist.
    """
    if kind not in _MODULES:
        raise BadIndexError(
            f"unknown index kind {kind!r}; choose one of: {', '.join((*KINDS, AUTO))}."
        )
    module = importlib.import_module(_MODULES[kind])
    if _MODULES[kind] == "retriever.indexes.dense":
        return IndexKind(partial(module.write_index, kind=kind), module.open_index)
    return IndexKind(module.write_index, module.open_index)


def resolve_kind(kind: str, passages: int, options: BuildOptions) -> str:
    """Return the kind to build; ``auto`` is chosen by corpus size, and logged with its reasons."""
    if kind != AUTO:
        return kind
    choice = choose_kind(passages, options)
    logger.info("%s", choice.summary)
    return choice.kind


def open_retriever(folder: Path, options: OpenOptions | None = None) -> Retriever:
    """Open an index folder for searching, after checking that it is whole.

    Raises:
        BadIndexError: If a file is missing, torn or altered, or an option is for another kind.
        DeviceError: If GPUs are wanted that cannot be used.
        EncoderError: If the encoder is missing or is another one.
    """
    options = options or OpenOptions()
    manifest, store = open_store(folder, options)
    return load_kind(manifest.kind).open_index(folder, manifest, store, options)


def open_store(folder: Path, options: OpenOptions) -> tuple[Manifest, PassageStore]:
    """Open the passages of an index folder, after checking that all of it is whole.

    Raises:
        BadIndexError: If a file is missing, torn or altered, or an option is for another kind.
    """
    manifest = read_manifest(folder)
    load_kind(manifest.kind)
    check_choices(manifest.kind, options, _OPEN_CHOICES, BadIndexError)
    check_files(folder, manifest, options.is_verified)
    store = PassageStore(folder)
    if len(store) != manifest.passages:
        raise BadIndexError(
            f"{folder} holds {len(store)} passages, its manifest says {manifest.passages}; "
            "build the index again."
        )
    return manifest, store
