"""Text to vectors with a sentence-transformers folder, offline. Imports torch when first used."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import EncoderError
from retriever.manifest import hash_folder

_WEIGHTS_AND_CONFIG = (".safetensors", ".bin", ".json", ".txt", ".model")
_PASSAGE_PROMPTS = ("passage", "document")


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


class Encoder:
    """A sentence-transformers model on the CPU."""

    def __init__(
        self,
        folder: Path,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        threads: int | None = None,
        batch_size: int = 64,
    ) -> None:
        """Load the model.

        Args:
            folder: A sentence-transformers folder; nothing is downloaded.
            query_prefix: Put before queries; None takes the model's own prompt, if it has one.
            passage_prefix: The same for passages.
            threads: CPU threads of torch in this process; None uses every core.
            batch_size: Texts encoded together.

        Raises:
            EncoderError: If the folder holds no such model.
        """
        if not (folder / "modules.json").is_file():
            raise EncoderError(
                f"no sentence-transformers model at {folder} (modules.json is missing); "
                "give its folder with --encoder."
            )
        self._model = _load_model(folder, threads or count_cores())
        self._batch_size = batch_size
        prompts = self._model.prompts
        own = next((prompts[name] for name in _PASSAGE_PROMPTS if prompts.get(name)), "")
        self.facts = EncoderFacts(
            name=folder.resolve().name,
            fingerprint=hash_folder(folder, _WEIGHTS_AND_CONFIG),
            dimension=int(self._model.get_embedding_dimension() or 0),
            pooling=_name_pooling(self._model),
            max_tokens=int(self._model.max_seq_length or 0),
            query_prefix=(prompts.get("query") or "") if query_prefix is None else query_prefix,
            passage_prefix=own if passage_prefix is None else passage_prefix,
        )

    def encode_queries(self, queries: list[str]) -> NDArray[np.float32]:
        """Return (n, dimension) vectors of length 1."""
        return self._encode(self.facts.query_prefix, queries)

    def encode_passages(self, passages: list[str]) -> NDArray[np.float32]:
        """Return (n, dimension) vectors of length 1."""
        return self._encode(self.facts.passage_prefix, passages)

    def _encode(self, prefix: str, texts: list[str]) -> NDArray[np.float32]:
        # The model batches texts of like length together and gives them back in order.
        vectors = self._model.encode(
            [prefix + text for text in texts],
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        ).astype(np.float32)
        # In float32, because bfloat16 lengths are off by up to 0.4 %.
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(vectors)


def open_encoder(folder: Path, wanted: dict[str, Any], threads: int | None = None) -> Encoder:
    """Load the encoder that an index was built with, prefixes included.

    Args:
        folder: Where it is.
        wanted: Its facts from the manifest.
        threads: As for ``Encoder``.

    Raises:
        EncoderError: If the folder holds another encoder.
    """
    encoder = Encoder(folder, wanted["query_prefix"], wanted["passage_prefix"], threads)
    found = asdict(encoder.facts)
    differing = [name for name in found if name != "name" and found[name] != wanted.get(name)]
    if differing:
        listed = "; ".join(f"{n} {found[n]!r} instead of {wanted.get(n)!r}" for n in differing)
        raise EncoderError(
            f"{folder} is not the encoder that this index was built with ({wanted['name']!r}): "
            f"{listed}. Give the right folder with --encoder, or build the index again."
        )
    return encoder


def _load_model(folder: Path, threads: int) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if _is_bf16_fast() else torch.float32
    try:
        model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": dtype}
        )
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(f"the model at {folder} cannot be loaded: {error}") from error
    model.default_prompt_name = None  # prefixes are ours, and in the manifest
    return model.eval()


def _is_bf16_fast() -> bool:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _name_pooling(model: Any) -> str:
    """Join the modes of the pooling modules; a module without a mode does not pool."""
    modes = [module.pooling_mode for module in model if hasattr(module, "pooling_mode")]
    return "+".join(mode if isinstance(mode, str) else "+".join(mode) for mode in modes) or "none"
