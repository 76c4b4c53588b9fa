"""Settings of torch's and FAISS' libraries that must stand before either is imported."""

import os

SETTINGS = {
    # Idle OpenMP threads must sleep, not spin: next to a busy trainer, spinning makes a lone dense
    # query ten times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # oneDNN keeps compiled kernels for every shape of a batch, 1024 of them at more than a megabyte
    # each. Batches of queries have ever new shapes, so a server would grow for hours.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "LRU_CACHE_CAPACITY": "32",
}


def prepare_libraries() -> None:
    """Set what is not set yet; call it before torch or FAISS is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
