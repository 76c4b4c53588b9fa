"""The command line of ``python -m retriever.build``."""

import argparse
from dataclasses import fields
from pathlib import Path

from retriever.encoders.presets import PRESETS
from retriever.indexes.kinds import AUTO, KINDS
from retriever.options import PRECISIONS, REFINEMENTS, BuildOptions

_DEFAULTS = BuildOptions()


def parse_arguments(arguments: list[str] | None, description: str | None) -> argparse.Namespace:
    """Parse the command line; argparse ends the process when it cannot be understood."""
    parser = argparse.ArgumentParser(
        prog="python -m retriever.build",
        description=(description or "").replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", type=Path, required=True, metavar="FILE", help="JSONL file of passages")
    add("--index", type=Path, required=True, metavar="DIR", help="folder to make")
    kinds = ", ".join((*KINDS, AUTO))
    add("--kind", default="flat", help=f"{kinds}, which goes by corpus size (default: flat)")
    add("--overwrite", action="store_true", help="replace an index that is already there")
    add("--threads", type=int, metavar="N", help="CPU threads (default: every core)")
    _add_encoder(parser)
    _add_vectors(parser)
    return parser.parse_args(arguments)


def _add_encoder(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("encoder (every kind but bm25)").add_argument
    add("--encoder", type=Path, metavar="DIR", help="sentence-transformers or Hugging Face folder")
    add(
        "--encoder-preset",
        metavar="NAME",
        help=f"prefixes and pooling of a family: {', '.join(PRESETS)} (default: by folder name)",
    )
    add("--query-prefix", metavar="TEXT", help="before every query (default: the encoder's own)")
    add(
        "--passage-prefix", metavar="TEXT", help="before every passage (default: the encoder's own)"
    )
    add("--pooling", help="mean or cls, where the encoder's folder does not say")
    add(
        "--batch-size",
        type=int,
        default=_DEFAULTS.batch_size,
        metavar="N",
        help="passages encoded together, at most (default: %(default)s)",
    )
    add(
        "--devices",
        default=",".join(_DEFAULTS.devices),
        metavar="LIST",
        help="cpu, or GPUs that share the work, as in cuda:0,cuda:1 (default: %(default)s)",
    )
    add(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="encode on a Ray cluster (no address: the one at hand, or a new one here)",
    )


def _add_vectors(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how vectors are kept").add_argument
    add(
        "--precision",
        default=_DEFAULTS.precision,
        help=f"flat, ivf: {', '.join(PRECISIONS)} (default: %(default)s)",
    )
    add("--nlist", type=int, metavar="N", help="ivf, ivfpq: cells (default: by corpus size)")
    add("--pq-bytes", type=int, metavar="N", help="ivfpq: bytes of a vector (default: by its size)")
    add(
        "--refine",
        default=_DEFAULTS.refine,
        help=f"ivfpq: copy for the second pass, {', '.join(REFINEMENTS)} (default: sq8)",
    )
    add(
        "--hnsw-m",
        type=int,
        metavar="N",
        help="hnsw: neighbours of a passage (default: 32)",
    )
    add(
        "--ef-construction",
        type=int,
        metavar="N",
        help="hnsw: candidates looked at for each passage (default: 200)",
    )
    add(
        "--seed",
        type=int,
        default=_DEFAULTS.seed,
        metavar="N",
        help="of what is drawn at random (default: %(default)s)",
    )


def read_options(parsed: argparse.Namespace) -> BuildOptions:
    """Make build options of a command line.

    Raises:
        ValueError: If a value is out of its range.
    """
    values = {at.name: getattr(parsed, at.name) for at in fields(BuildOptions)}
    devices = tuple(part.strip() for part in parsed.devices.split(",") if part.strip())
    return BuildOptions(**values | {"devices": devices})
