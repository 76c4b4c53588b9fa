"""Encode a corpus on a Ray cluster, for corpora that one machine should not encode.

Ray Data runs the encoder on every node, and this process writes what comes back into the same file
as ``retriever.encoders.encode`` does, in the same chunks. Every node must see the corpus store (the
build folder) and the encoder under the same path, as on a shared file system.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.encoders.encode import CHUNK, Vectors, encode_chunk, open_encoders, write_chunks
from retriever.encoders.encoder import count_cores
from retriever.errors import BuildError
from retriever.options import BuildOptions
from retriever.storage.passages import PassageStore
from retriever.storage.vectors import ENCODED


class ChunkEncoder:
    """What each Ray worker holds: the encoder and the mapped passages."""

    def __init__(self, folder: Path, options: BuildOptions) -> None:
        (self._encoder,) = open_encoders(options)
        self._store = PassageStore(folder)
        self._batch_size = options.batch_size

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Encode the chunk that starts at the one position in ``batch["item"]``."""
        start = int(batch["item"][0])
        return {"vector": encode_chunk(self._store, self._encoder, self._batch_size, start)}


def encode_with_ray(
    store: PassageStore,
    folder: Path,
    options: BuildOptions,
    address: str,
    on_passages: Callable[[int], object],
) -> None:
    """Write the file of ``encode.encode_store`` with the workers of a Ray cluster.

    Args:
        store: The passages, in ``folder``.
        folder: The build folder; what an earlier call finished there is kept.
        options: Encoder and batch size; ``devices`` other than cpu give each worker one GPU.
        address: Of the cluster; "auto" takes the one at hand or starts one here.
        on_passages: Called with how many more passages are encoded.

    Raises:
        BuildError: If Ray is not installed, or the cluster has no room for a worker.
    """
    try:
        import ray
    except ImportError as error:
        raise BuildError("--ray needs Ray; install it with: pip install 'ray[data]'") from error
    ray.init(address=None if address == "auto" else address, log_to_driver=False)
    try:
        encode_from = _make_encode_from(ray, store, folder.resolve(), options)
        dimension = open_encoders(replace(options, devices=("cpu",)))[0].facts.dimension
        write_chunks(folder / ENCODED, len(store), dimension, encode_from, on_passages)
    finally:
        ray.shutdown()


def _make_encode_from(
    ray: Any, store: PassageStore, folder: Path, options: BuildOptions
) -> Callable[[int], Iterator[Vectors]]:
    cluster = ray.cluster_resources()
    if options.devices == ("cpu",):
        # As many threads as a build on one machine, because they may change the last bits.
        options = replace(options, threads=options.threads or count_cores())
        needed = {"num_cpus": options.threads}
        workers = int(cluster.get("CPU", 0)) // (options.threads or 1)
    else:
        options = replace(options, devices=("cuda",))  # Ray shows each worker one GPU
        needed = {"num_gpus": 1}
        workers = int(cluster.get("GPU", 0))
    if not workers:
        raise BuildError(f"a worker needs {needed}, and the Ray cluster has {cluster}.")

    def encode_from(start: int) -> Iterator[Vectors]:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        starts = list(range(start, len(store), CHUNK))
        encoded = ray.data.from_items(starts, override_num_blocks=len(starts)).map_batches(
            ChunkEncoder,
            batch_size=1,
            concurrency=workers,
            fn_constructor_args=(folder, options),
            **needed,
        )
        for batch in encoded.iter_batches(batch_size=CHUNK):
            yield np.ascontiguousarray(batch["vector"], dtype=np.float32)

    return encode_from
