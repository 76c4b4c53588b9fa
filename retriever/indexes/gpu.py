"""Search on GPUs, through FAISS's GPU build: rows are shared out, every GPU searches its part."""

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.errors import DeviceError
from retriever.storage.vectors import StoredVectors

_MAX_WANTED = 2048  # rows per query; FAISS's limit on GPUs


def pick_gpus(device: str) -> tuple[int, ...]:
    """Return the numbers of the GPUs that ``device`` names; none for cpu.

    Args:
        device: cpu, cuda for every GPU, or some, such as cuda:0,1.

    Raises:
        DeviceError: If FAISS has no GPU support, or a GPU is not there.
    """
    if device == "cpu":
        return ()
    if not hasattr(faiss, "StandardGpuResources"):
        raise DeviceError(
            f"device is {device!r}, but the FAISS installed here searches on the CPU only; "
            "install the GPU set (make setup-gpu), or use device cpu."
        )
    present = faiss.get_num_gpus()
    numbers = device.partition(":")[2]
    wanted = tuple(map(int, numbers.split(","))) if numbers else tuple(range(present))
    if not wanted or max(wanted) >= present or len(set(wanted)) < len(wanted):
        raise DeviceError(
            f"device is {device!r}, but FAISS sees {present} GPUs; name GPUs from 0 to "
            f"{present - 1} once each, or use device cpu."
        )
    return wanted


def shard_index(index: Any, gpus: tuple[int, ...]) -> Any:
    """Copy an IVF index to GPUs, each list's rows to one of them; ``nprobe`` is kept."""
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    options.indicesOptions = faiss.INDICES_64_BIT
    return faiss.index_cpu_to_gpus_list(index, options, list(gpus))


def shard_rows(rows: StoredVectors, gpus: tuple[int, ...]) -> Any:
    """Copy rows to GPUs as a flat index, each GPU getting one range of positions.

    Rows of two bytes and less are kept as float16 there, others as float32.
    """
    # Threaded: all GPUs search at once. Successive: shard i's positions follow those of i - 1.
    shards = faiss.IndexShards(rows.dimension, True, True)
    per_gpu = -(-rows.size // len(gpus))
    for place, gpu in enumerate(gpus):
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        config.useFloat16 = rows.precision != "fp32"
        resources = faiss.StandardGpuResources()
        part = faiss.GpuIndexFlatIP(resources, rows.dimension, config)
        part.referenced_objects = [resources]
        for block in rows.blocks(place * per_gpu, min((place + 1) * per_gpu, rows.size)):
            part.add(block)
        shards.add_shard(part)
    return shards


def gpu_candidates(
    index: Any,
) -> Callable[[NDArray[np.float32], int], NDArray[np.int64]]:
    """Return what proposes positions for ``retriever.indexes.ann``, at most 2048 per query."""

    def propose(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = index.search(vectors, min(wanted, _MAX_WANTED))[1]
        return found

    return propose
