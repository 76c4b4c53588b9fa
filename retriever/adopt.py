"""Make an index folder of a FAISS file that exists: nothing is encoded again.

``python -m retriever.adopt --faiss e5_Flat.index --corpus wiki-18.jsonl --encoder e5-base-v2
--index DIR`` takes Search-R1's index as it is. Row i of the file must be passage i of the corpus.
Some passages are encoded, to find out whether encoder, prefixes and order are the right ones.
"""

import argparse
import logging
import os
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.encoders.encode import open_encoders
from retriever.encoders.encoder import Encoder
from retriever.encoders.presets import PRESETS
from retriever.environment import prepare_libraries
from retriever.errors import BuildError, RetrievalError
from retriever.indexes.ann_build import count_probes
from retriever.indexes.dense import check_vectors, describe_encoder, describe_flat
from retriever.interrupts import restore_interrupts
from retriever.options import BuildOptions
from retriever.storage.build_folder import build_folder
from retriever.storage.faiss_files import FAISS_FILE, map_flat, read_faiss
from retriever.storage.files import written_aside
from retriever.storage.manifest import Manifest, hash_file, write_manifest
from retriever.storage.passages import PassageStore, write_store

logger = logging.getLogger("retriever.adopt")  # not __main__, which nobody listens to

SAMPLES = 32
_DRAWN = 1024  # passages of which the shortest are samples
_CLEARLY_MORE = 0.75  # of the samples; half do by chance where a prefix makes no difference
_LEAST_COSINE = 0.99  # half precision keeps 0.999; another encoder, prefix or order loses more
_LEAST_COSINE_PQ = 0.5  # rows are rough there, and other passages' rows are still far below
# Over a long passage a prefix moves the vector by little, and rounded rows hide that: the given one
# is right if none of these fits better.
_KNOWN_PREFIXES = {
    prefix for preset in PRESETS.values() for prefix in (preset.query_prefix, preset.passage_prefix)
}


def adopt_index(
    faiss_file: Path, corpus: Path, folder: Path, options: BuildOptions, is_replaced: bool = False
) -> Manifest:
    """Put a FAISS file, a corpus and what is known of the encoder into one index folder.

    The FAISS file is hard-linked where both lie on one file system, and copied otherwise.

    Args:
        faiss_file: A flat, IVF or HNSW index by inner product, or by L2 of rows of one length.
        corpus: JSONL file whose passages are in the order of the rows.
        folder: Where the index goes.
        options: The encoder, its prefixes and pooling.
        is_replaced: Put the new index in the place of an existing one, once it is ready.

    Raises:
        RetrievalError: If something does not fit; nothing is left behind.
        OSError: If files cannot be written.
    """
    if not faiss_file.is_file():
        raise BuildError(f"no FAISS file at {faiss_file}; give it with --faiss.")
    index = read_faiss(faiss_file)
    kind = _find_kind(index, faiss_file)
    [encoder, *_] = open_encoders(options)
    assert options.encoder is not None  # open_encoders has checked
    _expect("dimension", index.d, encoder.facts.dimension, "the encoder's", faiss_file)
    source = hash_file(corpus)
    plan = {"adopted": faiss_file.name, "corpus": asdict(source)}
    with build_folder(folder, plan, is_replaced) as aside:
        write_store(corpus, aside)
        with closing(PassageStore(aside)) as store:
            _expect("number of rows", index.ntotal, len(store), "the corpus's", faiss_file)
            logger.info("%s", _place(faiss_file, aside / FAISS_FILE))
            vectors = _describe(kind, index, aside / FAISS_FILE)
            vectors = check_vectors(aside, kind, vectors, store.id_rank)
            _check_rows(index, store, encoder, faiss_file)
        described = describe_encoder(encoder, options.encoder, aside)
        settings = described | {"vectors": vectors}
        manifest = Manifest(kind, index.ntotal, source, settings)
        write_manifest(aside, manifest)
    return manifest


def _find_kind(index: Any, path: Path) -> str:
    kinds = {"flat": faiss.IndexFlat, "hnsw": faiss.IndexHNSW, "ivf": faiss.IndexIVF}
    found = [kind for kind, class_ in kinds.items() if isinstance(index, class_)]
    if not found:
        raise BuildError(
            f"{path} is a {type(index).__name__}; expected a flat, IVF or HNSW index. Build an "
            "index of the corpus with python -m retriever.build."
        )
    if index.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        raise BuildError(
            f"{path} has FAISS's metric {index.metric_type}; expected inner product or L2."
        )
    return found[0]


def _expect(what: str, found: int, expected: int, whose: str, path: Path) -> None:
    if found != expected:
        raise BuildError(
            f"the {what} of {path} is {found}, {whose} is {expected}; give the corpus and the "
            "encoder that the file was made with."
        )


def _check_rows(index: Any, store: PassageStore, encoder: Encoder, path: Path) -> None:
    """Encode some passages, and compare them with their rows."""
    if isinstance(index, faiss.IndexIVF) and index.direct_map.no():
        index.make_direct_map()
    positions = _pick_samples(store)
    rows = index.reconstruct_batch(positions)
    norms = np.linalg.norm(rows, axis=1)
    if index.metric_type == faiss.METRIC_L2 and np.ptp(norms) > 0.01 * norms.max():
        raise BuildError(
            f"{path} compares by L2, and its rows have lengths from {norms.min():.3f} to "
            f"{norms.max():.3f}; expected inner product, or rows of one length."
        )
    texts = [store[at].contents for at in positions.tolist()]
    cosines = _compare(rows, encoder, texts)
    cosine = float(np.median(cosines))
    least = _LEAST_COSINE_PQ if isinstance(index, faiss.IndexIVFPQ) else _LEAST_COSINE
    prefix = encoder.facts.passage_prefix
    tried = (
        f"{len(texts)} passages encoded with {encoder.facts.name} and passage prefix {prefix!r} "
        f"have a median cosine of {cosine:.4f} with their rows in {path}"
    )
    if cosine < least:
        raise BuildError(
            f"{tried}; expected {least} or more. Give the encoder, --passage-prefix and --pooling "
            "that the file was made with, and the corpus in the same order."
        )
    for other in sorted(_KNOWN_PREFIXES - {prefix}):
        theirs = _compare(rows, encoder.with_passage_prefix(other), texts)
        if (theirs > cosines).mean() >= _CLEARLY_MORE:
            raise BuildError(
                f"{tried}, and of {np.median(theirs):.4f} with prefix {other!r}, which fits better "
                f"for {(theirs > cosines).sum()} of them; expected the prefix that the file was "
                f"made with. Give --passage-prefix {other!r}, or the right one if it is neither."
            )
    logger.info("%s", tried)


def _pick_samples(store: PassageStore) -> NDArray[np.int64]:
    """Pick passages at random, half of them short ones, where a prefix shows most; in order."""
    drawn = np.random.default_rng(0).permutation(len(store))[:_DRAWN]
    rest = drawn[SAMPLES // 2 :]
    by_length = np.argsort([len(store[at].contents) for at in rest.tolist()], kind="stable")
    short: NDArray[np.int64] = rest[by_length[: SAMPLES // 2]]
    return np.sort(np.concatenate([drawn[: SAMPLES // 2], short]))


def _compare(rows: NDArray[np.float32], encoder: Encoder, texts: list[str]) -> NDArray[np.float32]:
    """Return the cosine of each row, (n, dimension), with the vector of its text."""
    encoded = encoder.encode_passages(texts)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(encoded, axis=1)
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", rows, encoded) / np.maximum(lengths, 1e-12)
    return cosines


def _place(source: Path, target: Path) -> str:
    """Link or copy; return what was done."""
    target.unlink(missing_ok=True)  # of an attempt that was cut off
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        with written_aside(target) as copy:
            shutil.copyfile(source, copy)
        return f"{source} was copied"
    return f"{source} was linked, not copied: do not change that file while the index is in use"


def _describe(kind: str, index: Any, path: Path) -> dict[str, Any]:
    """Return the settings that ``retriever.indexes.dense.open_vectors`` needs."""
    if kind == "hnsw":
        return {"ef_search": max(index.hnsw.efSearch, 128)}
    if kind == "ivf":
        nprobe = max(index.nprobe, count_probes(index.nlist))
        return {"nlist": index.nlist, "nprobe": nprobe, "precision": type(index).__name__}
    return describe_flat(map_flat(path))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the index is in place, 2 with one line on stderr when it is not."""
    parsed = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("retriever").setLevel(logging.INFO)
    prepare_libraries()
    restore_interrupts()
    try:
        options = BuildOptions(
            encoder=parsed.encoder,
            encoder_preset=parsed.encoder_preset,
            query_prefix=parsed.query_prefix,
            passage_prefix=parsed.passage_prefix,
            pooling=parsed.pooling,
        )
        manifest = adopt_index(
            parsed.faiss, parsed.corpus, parsed.index, options, is_replaced=parsed.overwrite
        )
    except (RetrievalError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    logger.info("%s: %s index of %d passages", parsed.index, manifest.kind, manifest.passages)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m retriever.adopt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--faiss",
        type=Path,
        required=True,
        metavar="FILE",
        help="FAISS file, such as e5_Flat.index",
    )
    add("--corpus", type=Path, required=True, metavar="FILE", help="JSONL file, in the rows' order")
    add("--encoder", type=Path, required=True, metavar="DIR", help="encoder of the rows")
    add("--index", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--encoder-preset", metavar="NAME", help="family of the encoder (default: by folder name)")
    add("--query-prefix", metavar="TEXT", help="before every query (default: the encoder's own)")
    add("--passage-prefix", metavar="TEXT", help="that the rows were made with (the same)")
    add("--pooling", help="mean or cls, where the encoder's folder does not say")
    add("--overwrite", action="store_true", help="replace an index that is already there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
