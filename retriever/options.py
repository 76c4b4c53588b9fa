"""Choices a user makes when an index is built or opened."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build; BM25 ignores what is about encoders."""

    encoder: Path | None = None
    """Folder of a sentence-transformers model; needed by dense kinds."""
    query_prefix: str | None = None
    """Put before every query; None takes the encoder's own prompt, if it has one."""
    passage_prefix: str | None = None
    """Put before every passage; None takes the encoder's own prompt, if it has one."""
    batch_size: int = 64
    """Passages encoded together."""
    threads: int | None = None
    """CPU threads; None uses every core this process may use."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected 1 or more.")
        _check_threads(self.threads)


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open; everything else comes from the manifest."""

    encoder: Path | None = None
    """Where the encoder folder is now; None looks where it was at build time."""
    threads: int | None = None
    """CPU threads; None uses every core this process may use."""
    is_verified: bool = False
    """Check the checksums of files of 1 GiB and more too."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_threads(self.threads)


def _check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected 1 or more, or None for every core.")
