"""Encode all passages of a store into one file, going on where a killed build stopped.

Passages are encoded in chunks of a fixed size, each with the same batches whatever came before,
and a chunk is appended when it is whole. So the bytes do not depend on interruptions, and how far
a build got is the length of its file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from retriever.encoders.encoder import Encoder
from retriever.errors import BuildError
from retriever.options import BuildOptions
from retriever.storage.passages import PassageStore
from retriever.storage.vectors import ENCODED

CHUNK = 1024  # enough to sort by length, little enough to lose

Vectors = NDArray[np.float32]


def open_encoders(options: BuildOptions) -> list[Encoder]:
    """Open the encoder of a build once on each of its devices.

    Raises:
        BuildError: If the options name no encoder.
        EncoderError: If its folder holds none.
    """
    if options.encoder is None:
        raise BuildError("a dense index needs an encoder; give its folder with --encoder.")
    return [
        Encoder(
            options.encoder,
            options.query_prefix,
            options.passage_prefix,
            options.threads,
            options.batch_size,
            pooling=options.pooling,
            preset=options.encoder_preset,
            device=device,
        )
        for device in options.devices
    ]


def encode_store(
    store: PassageStore,
    folder: Path,
    encoder: Encoder | Sequence[Encoder],
    batch_size: int,
    on_passages: Callable[[int], object],
) -> Vectors:
    """Write the vectors of all passages to ``folder/encoded.f32``, in order.

    Args:
        store: The passages.
        folder: Where the file goes; what an earlier call finished there is kept.
        encoder: One, or the same one on several devices, which share the work.
        batch_size: Passages encoded together, at most.
        on_passages: Called with how many more passages are encoded.

    Returns:
        A read-only memory map, (n, dimension) float32.

    Raises:
        OSError: If the file cannot be written; the finished chunks stay.
    """
    encoders = [encoder] if isinstance(encoder, Encoder) else list(encoder)
    dimension = encoders[0].facts.dimension

    def encode_from(start: int) -> Iterator[Vectors]:
        return _encode_chunks(store, encoders, batch_size, start)

    return write_chunks(folder / ENCODED, len(store), dimension, encode_from, on_passages)


def write_chunks(
    path: Path,
    passages: int,
    dimension: int,
    encode_from: Callable[[int], Iterator[Vectors]],
    on_passages: Callable[[int], object],
) -> Vectors:
    """Append chunks of vectors to a file until it holds all passages; see ``encode_store``.

    Args:
        path: The file; it may hold finished chunks.
        passages: How many vectors it will hold.
        dimension: Length of a vector.
        encode_from: Yields the vectors from a passage on, ``CHUNK`` at a time and the rest.
        on_passages: Called with how many more passages are encoded.
    """
    row_bytes = 4 * dimension
    with path.open("ab") as out:
        rows = out.tell() // row_bytes
        done = passages if rows >= passages else rows // CHUNK * CHUNK
        out.truncate(done * row_bytes)
        on_passages(done)
        if done < passages:
            for vectors in encode_from(done):
                out.write(vectors.tobytes())
                out.flush()
                on_passages(len(vectors))
    return np.memmap(path, dtype=np.float32, mode="r", shape=(passages, dimension))


def encode_chunk(store: PassageStore, encoder: Encoder, batch_size: int, start: int) -> Vectors:
    """Encode the passages of one chunk."""
    stop = min(start + CHUNK, len(store))
    contents = [passage.contents for passage in store.read(start, stop)]
    return encoder.encode_passages(contents, batch_size)


def _encode_chunks(
    store: PassageStore, encoders: list[Encoder], batch_size: int, start: int
) -> Iterator[Vectors]:
    """Yield chunks in order; each encoder works on one, and one more waits for it."""
    idle: SimpleQueue[Encoder] = SimpleQueue()
    for encoder in encoders:
        idle.put(encoder)

    def encode(at: int) -> Vectors:
        encoder = idle.get()
        try:
            return encode_chunk(store, encoder, batch_size, at)
        finally:
            idle.put(encoder)

    running: deque[Future[Vectors]] = deque()
    with ThreadPoolExecutor(len(encoders)) as pool:
        try:
            for at in range(start, len(store), CHUNK):
                running.append(pool.submit(encode, at))
                if len(running) > len(encoders):
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
