"""Settings of libraries that must stand before they are imported, or used much."""

import ctypes
import os
import sys

_MB = 2**20
# glibc moves these two limits as it goes, and then keeps ever other blocks of some megabytes: the
# memory of a server wandered up by 8 % in 200,000 requests, with fixed limits by 2 %.
_MALLOC = {  # name: (mallopt's number for it, bytes)
    "MALLOC_MMAP_THRESHOLD_": (-3, 8 * _MB),
    "MALLOC_TRIM_THRESHOLD_": (-1, 32 * _MB),
}

SETTINGS = {
    # Idle OpenMP threads must sleep, not spin: next to a busy trainer, spinning makes a lone dense
    # query ten times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # oneDNN keeps compiled kernels for every shape of a batch, 1024 of them at more than a megabyte
    # each. Batches of queries have ever new shapes, so a server would grow for hours.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "LRU_CACHE_CAPACITY": "32",
    # Processes started from here read these; this one is told below.
    **{name: str(size) for name, (_, size) in _MALLOC.items()},
}


def prepare_libraries() -> None:
    """Set what is not set yet; call it before torch, FAISS or transformers is imported."""
    if not sys.stderr.isatty():  # a bar in a log file is hundreds of lines
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    for name, (number, size) in _MALLOC.items():
        if mallopt is not None and name not in os.environ:
            mallopt(number, size)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
