"""Text to vectors, offline: any sentence-transformers or Hugging Face encoder folder.

Imports torch when an encoder is opened.
"""

import os
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retriever.encoders.presets import EncoderPreset, find_preset
from retriever.errors import EncoderError, EncodingError
from retriever.storage.manifest import hash_folder

if TYPE_CHECKING:
    from retriever.encoders.text_models import TextModel

PRECISIONS = ("fp32", "bf16", "fp16")
ENGINES = ("torch",)

_WEIGHTS_AND_CONFIG = (".safetensors", ".bin", ".json", ".txt", ".model")
_SHOWN_CHARS = 80  # of a text that cannot be encoded
_PASSAGE_PROMPTS = ("passage", "document")
_QUERY_TOWER, _PASSAGE_TOWER = "question_encoder", "ctx_encoder"  # as DPR's are published


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What must stay the same between building an index and searching it."""

    name: str
    """Folder name, for people."""
    fingerprint: str
    """Checksum over weights, tokenizer and configuration."""
    dimension: int
    """Length of a vector."""
    pooling: str
    """How token vectors become one, such as mean or cls."""
    max_tokens: int
    """Longer texts are cut."""
    query_prefix: str
    """Put before every query."""
    passage_prefix: str
    """Put before every passage."""
    is_normalized: bool = True
    """Vectors have length 1, so inner product is cosine similarity."""


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_encoder_folder(folder: Path) -> None:
    """Refuse a folder that holds no encoder, without loading anything.

    Raises:
        EncoderError: Naming what is missing.
    """
    model = _find_tower(folder, _QUERY_TOWER)
    if not any((model / name).is_file() for name in ("modules.json", "config.json")):
        raise EncoderError(
            f"no sentence-transformers model at {folder} (modules.json is missing) and no Hugging "
            "Face model (config.json is missing); give the folder of one with --encoder."
        )


def _find_tower(folder: Path, name: str) -> Path:
    """Return the folder inside that is called like one of DPR's two models, or the folder."""
    if (folder / "config.json").is_file() or not folder.is_dir():
        return folder
    return next((path for path in sorted(folder.iterdir()) if name in path.name), folder)


def fingerprint(folder: Path) -> str:
    """Give one checksum for weights, tokenizer and configuration of an encoder folder."""
    return hash_folder(folder, _WEIGHTS_AND_CONFIG)


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise EncoderError(f"{name} is {value!r}; expected one of: {', '.join(choices)}.")


class Encoder:
    """An encoder on one device.

    What the arguments leave open is taken from the folder, then from the preset of its family
    (``retriever.encoders.presets``).
    """

    def __init__(
        self,
        folder: Path,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        threads: int | None = None,
        batch_size: int = 256,
        *,
        pooling: str | None = None,
        is_normalized: bool | None = None,
        preset: str | None = None,
        device: str = "cpu",
        precision: str | None = None,
        engine: str | None = None,
    ) -> None:
        """Load the model.

        Args:
            folder: A sentence-transformers or Hugging Face folder, or one that holds DPR's two
                (named like question_encoder and ctx_encoder); nothing is downloaded.
            query_prefix: Put before queries; None takes the model's own prompt, or the preset's.
            passage_prefix: The same for passages.
            threads: CPU threads of torch in this process; None uses every core.
            batch_size: Texts encoded together, at most.
            pooling: How token vectors become one, where the folder does not say.
            is_normalized: Whether vectors get length 1; None as trained.
            preset: Name of the model's family, where the folder's does not tell.
            device: cpu, cuda, or one GPU such as cuda:1.
            precision: fp32, bf16 or fp16; None takes what is fast on the device.
            engine: torch; None lets OpenVINO run it on a CPU where it can.

        Raises:
            EncoderError: If the folder holds no such model, or an argument does not fit it.
        """
        check_encoder_folder(folder)
        import torch

        _check_choice("precision", precision, PRECISIONS)
        _check_choice("engine", engine, ENGINES)
        torch.set_num_threads(threads or count_cores())
        known = find_preset(folder, preset)
        self._folder, self._batch_size = folder, batch_size
        self._loading = (pooling or (known.pooling if known else None), device, precision, engine)
        self._query_model = self._load(_QUERY_TOWER)
        own = self._query_model.pooling
        if pooling not in (None, own):
            raise EncoderError(f"{folder} has pooling {own}, not {pooling}; leave --pooling out.")
        self.facts = _collect_facts(
            folder, self._query_model, query_prefix, passage_prefix, is_normalized, known
        )

    def _load(self, tower: str) -> "TextModel":
        from retriever.encoders.text_models import load_text_model

        return load_text_model(_find_tower(self._folder, tower), *self._loading)

    @cached_property
    def _passage_model(self) -> "TextModel":
        # Apart from DPR, one model reads both.
        if _find_tower(self._folder, _PASSAGE_TOWER) == self._folder:
            return self._query_model
        return self._load(_PASSAGE_TOWER)

    def encode_queries(self, queries: list[str]) -> NDArray[np.float32]:
        """Return (n, dimension) vectors; of length 1 if ``facts.is_normalized``.

        Raises:
            EncodingError: If a query's vector holds NaN or an infinite number.
        """
        prefix = self.facts.query_prefix
        vectors = self._query_model.encode(queries, prefix, self._batch_size, True)
        return self._finish(vectors, queries)

    def encode_passages(
        self, passages: list[str], batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """Return (n, dimension) vectors; of length 1 if ``facts.is_normalized``.

        The same list gives the same bytes, whatever was encoded before.

        Raises:
            EncodingError: If a passage's vector holds NaN or an infinite number.
        """
        prefix, most = self.facts.passage_prefix, batch_size or self._batch_size
        vectors = self._passage_model.encode(passages, prefix, most, False)
        return self._finish(vectors, passages)

    def with_passage_prefix(self, prefix: str) -> "Encoder":
        """Return the same loaded model with another prefix before passages."""
        other = copy(self)
        other.facts = replace(self.facts, passage_prefix=prefix)
        return other

    def _finish(self, vectors: NDArray[np.float32], texts: list[str]) -> NDArray[np.float32]:
        unusable = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(unusable):
            raise EncodingError(
                f"the encoder {self.facts.name} gave NaN or infinite numbers for {len(unusable)} "
                f"of {len(texts)} texts, the first {texts[unusable[0]][:_SHOWN_CHARS]!r}; expected "
                "finite ones. Check its weights, and that its precision is one it was trained in."
            )
        if self.facts.is_normalized:
            # In float32, because bfloat16 lengths are off by up to 0.4 %.
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(vectors)


def _collect_facts(
    folder: Path,
    model: "TextModel",
    query_prefix: str | None,
    passage_prefix: str | None,
    is_normalized: bool | None,
    preset: EncoderPreset | None,
) -> EncoderFacts:
    def choose(*values: str | None) -> str:
        return next((value for value in values if value is not None), "")

    own_passage = (model.prompts.get(name) for name in _PASSAGE_PROMPTS)
    normalizing = [is_normalized, model.is_normalized, preset.is_normalized if preset else True]
    return EncoderFacts(
        name=folder.resolve().name,
        fingerprint=fingerprint(folder),
        dimension=model.dimension,
        pooling=model.pooling,
        max_tokens=model.max_tokens,
        query_prefix=choose(
            query_prefix, model.prompts.get("query"), preset.query_prefix if preset else None
        ),
        passage_prefix=choose(
            passage_prefix, *own_passage, preset.passage_prefix if preset else None
        ),
        is_normalized=next(value for value in normalizing if value is not None),
    )


def open_encoder(
    folder: Path,
    wanted: dict[str, Any],
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
) -> Encoder:
    """Load the encoder that an index was built with, prefixes included.

    Args:
        folder: Where it is.
        wanted: Its facts from the manifest.
        threads: As for ``Encoder``.
        device: As for ``Encoder``.
        precision: As for ``Encoder``.

    Raises:
        EncoderError: If the folder holds another encoder.
    """
    has_own_pooling = (folder / "modules.json").is_file()
    encoder = Encoder(
        folder,
        wanted["query_prefix"],
        wanted["passage_prefix"],
        threads,
        pooling=None if has_own_pooling else wanted["pooling"],
        is_normalized=wanted["is_normalized"],
        device=device,
        precision=precision,
    )
    found = asdict(encoder.facts)
    differing = [name for name in found if name != "name" and found[name] != wanted.get(name)]
    if differing:
        listed = "; ".join(f"{n} {found[n]!r} instead of {wanted.get(n)!r}" for n in differing)
        raise EncoderError(
            f"{folder} is not the encoder that this index was built with ({wanted['name']!r}): "
            f"{listed}. Give the right folder with --encoder, or build the index again."
        )
    return encoder
