"""Files that FAISS wrote, mapped into memory."""

from pathlib import Path
from typing import Any

import faiss

from retriever.errors import BadIndexError
from retriever.storage.vectors import StoredVectors

FAISS_FILE = "vectors.faiss"


def read_faiss(path: Path) -> Any:
    """Map a FAISS file; processes that do share one copy in memory.

    Raises:
        BadIndexError: If it is none.
    """
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BadIndexError(f"{path} is no FAISS index: {error}; build it again.") from error


def map_flat(path: Path) -> StoredVectors:
    """Map the rows of a FAISS file that holds nothing but float32 rows.

    Raises:
        BadIndexError: If it is no such file.
    """
    index = read_faiss(path)
    if not isinstance(index, faiss.IndexFlat):
        raise BadIndexError(f"{path} is a {type(index).__name__}; expected a flat FAISS index.")
    rows = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return StoredVectors(rows.reshape(index.ntotal, index.d), "fp32", owner=index)
