"""Choices a user makes when an index is built or opened."""

import re
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("fp32", "fp16", "bf16", "sq8")
REFINEMENTS = ("none", "sq8", "fp16", "bf16", "fp32")

_DEVICE = re.compile(r"cpu|cuda(:\d+(,\d+)*)?")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build; BM25 ignores what is about encoders and vectors.

    None leaves a choice to the index kind, which knows the size of the corpus. What another kind
    needs must stay None.
    """

    encoder: Path | None = None
    """Folder of a sentence-transformers model; needed by dense kinds."""
    query_prefix: str | None = None
    """Put before every query; None takes the encoder's own prompt, if it has one."""
    passage_prefix: str | None = None
    """Put before every passage; None takes the encoder's own prompt, if it has one."""
    pooling: str | None = None
    """How token vectors become one: mean or cls; None takes what the encoder's folder says."""
    encoder_preset: str | None = None
    """Family of the encoder (``retriever.encoders.presets``); None goes by the folder's name."""
    batch_size: int = 64
    """Passages encoded together."""
    threads: int | None = None
    """CPU threads; None uses every core this process may use."""
    devices: tuple[str, ...] = ("cpu",)
    """What encodes passages: cpu, or GPUs such as cuda:0 and cuda:1, which share the work."""
    precision: str = "fp32"
    """How flat and ivf keep a number: fp32, fp16, bf16, or sq8 (one byte)."""
    nlist: int | None = None
    """Cells of ivf and ivfpq."""
    pq_bytes: int | None = None
    """Bytes that ivfpq keeps of a vector for the first pass; must divide the dimension."""
    refine: str | None = None
    """What ivfpq keeps for the second pass: none, sq8, fp16, bf16, or fp32."""
    hnsw_m: int | None = None
    """Neighbours of a passage in the hnsw graph."""
    ef_construction: int | None = None
    """Candidates looked at for each passage added to hnsw."""
    seed: int = 0
    """Chooses the training sample and where training starts."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("batch_size", "threads", "nlist", "pq_bytes", "ef_construction"):
            _check_least(name, getattr(self, name), 1)
        _check_least("hnsw_m", self.hnsw_m, 2)
        _check_least("seed", self.seed, 0)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("refine", self.refine or "none", REFINEMENTS)
        if not self.devices:
            raise ValueError("devices is empty; expected ('cpu',) or GPUs such as ('cuda:0',).")


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open; everything else comes from the manifest."""

    encoder: Path | None = None
    """Where the encoder folder is now; None looks where it was at build time."""
    threads: int | None = None
    """CPU threads; None uses every core this process may use."""
    is_verified: bool = False
    """Check the checksums of files of 1 GiB and more too."""
    nprobe: int | None = None
    """Cells of ivf and ivfpq that a query looks into; None takes the manifest's default."""
    ef_search: int | None = None
    """Candidates that hnsw looks at for a query; None takes the manifest's default."""
    refine_factor: int | None = None
    """Candidates that ivfpq scores again, in tens; None takes the manifest's default."""
    device: str = "cpu"
    """Where vectors are searched: cpu, cuda (every GPU) or some GPUs, such as cuda:0,1."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("threads", "nprobe", "ef_search", "refine_factor"):
            _check_least(name, getattr(self, name), 1)
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(
                f"device is {self.device!r}; expected cpu, cuda, or GPUs by number, as in cuda:0,1."
            )


def check_choices(
    kind: str,
    options: BuildOptions | OpenOptions,
    choices: dict[str, tuple[str, ...]],
    error: type[Exception],
) -> None:
    """Refuse an option that this kind would not use.

    Args:
        kind: The index kind.
        options: What was chosen.
        choices: Every kind, and the options that are for it and not for all kinds.
        error: What to raise, naming the first such option.
    """
    defaults = type(options)()
    others = {name for names in choices.values() for name in names} - {*choices[kind]}
    for name in sorted(others):
        if (value := getattr(options, name)) != getattr(defaults, name):
            said = str(value) if isinstance(value, Path) else value
            users = [other for other, names in choices.items() if name in names]
            raise error(
                f"{name} is {said!r}, but {kind} has no use for it; it is for {', '.join(users)}."
            )


def _check_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}; expected {least} or more.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of: {', '.join(choices)}.")
