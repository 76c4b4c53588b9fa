"""Which settings of which indexes are measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.options import OpenOptions
from retriever.storage.manifest import read_manifest

# What can be turned when an index of a kind is opened.
_KNOBS = {"ivf": ("nprobe",), "ivfpq": ("nprobe", "refine_factor"), "hnsw": ("ef_search",)}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to open one index; None takes the manifest's value."""

    index: Path
    kind: str
    nprobe: int | None = None
    ef_search: int | None = None
    refine_factor: int | None = None

    @property
    def turned(self) -> dict[str, int]:
        """The knobs that differ from the manifest."""
        named = {
            "nprobe": self.nprobe,
            "ef_search": self.ef_search,
            "refine_factor": self.refine_factor,
        }
        return {name: value for name, value in named.items() if value is not None}

    @property
    def label(self) -> str:
        """Name of the index folder and the knobs, for tables."""
        return " ".join([self.index.name, *(f"{name}={v}" for name, v in self.turned.items())])

    def options(self, encoder: Path | None, threads: int | None) -> OpenOptions:
        """Give what ``open_retriever`` wants."""
        return OpenOptions(
            encoder=None if self.kind == "bm25" else encoder,
            threads=threads,
            nprobe=self.nprobe,
            ef_search=self.ef_search,
            refine_factor=self.refine_factor,
        )


def make_sweep(
    indexes: Sequence[Path], values: Mapping[str, Sequence[int] | None]
) -> Iterator[Setting]:
    """Yield every index with every value of the knobs that its kind has.

    Args:
        indexes: Index folders.
        values: Knob to the values wanted; a knob without values keeps the manifest's.
    """
    for index in indexes:
        kind = read_manifest(index).kind
        turned: list[dict[str, int]] = [{}]
        for knob in _KNOBS.get(kind, ()):
            if wanted := values.get(knob):
                turned = [row | {knob: value} for row in turned for value in wanted]
        for row in turned:
            yield Setting(index, kind, **row)
