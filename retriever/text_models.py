"""Models that turn texts into vectors, loaded from a folder, offline.

Two kinds of folder are read: sentence-transformers (with modules.json), and plain Hugging Face,
whose pooling the caller names. Calling tokenizer and model here, instead of through
``SentenceTransformer.encode``, takes a third off the time of a lone query.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoModel, AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

from retriever.errors import EncoderError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_DPR_TOWERS = {
    "DPRContextEncoder": (DPRContextEncoder, "ctx_encoder"),
    "DPRQuestionEncoder": (DPRQuestionEncoder, "question_encoder"),
}
# Larger batches of long texts leave the CPU's caches and are slower.
_CPU_TOKENS_AT_ONCE = 4096
_CALL_TOKENS = 100  # what calling MiniLM costs on two cores, in tokens it could have read meanwhile


class TextModel(Protocol):
    """A loaded model."""

    dimension: int
    pooling: str
    max_tokens: int  # 0: no limit
    prompts: dict[str, str]  # the model's own prefixes, by name
    is_normalized: bool | None  # None: the folder does not say

    def encode(
        self, texts: list[str], prefix: str, batch_size: int, is_query: bool
    ) -> NDArray[np.float32]:
        """Return (n, dimension) vectors in the order of the texts."""
        ...


def load_text_model(
    folder: Path, pooling: str | None, device: str = "cpu", precision: str | None = None
) -> TextModel:
    """Load a model.

    Args:
        folder: A sentence-transformers or plain Hugging Face folder.
        pooling: For a plain folder; one of sentence-transformers' pooling modes.
        device: cpu, cuda, or one GPU such as cuda:1.
        precision: fp32, bf16 or fp16; None takes what is fast on the device.

    Raises:
        EncoderError: If the model cannot be loaded, or its pooling is not known.
    """
    dtype = PRECISIONS[precision] if precision else _fast_precision(device)
    try:
        if (folder / "modules.json").is_file():
            return _load_sentence_transformer(folder, device, dtype)
        return _load_plain(folder, pooling, device, dtype)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EncoderError(f"the model at {folder} cannot be loaded: {error}") from error


def _fast_precision(device: str) -> torch.dtype:
    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if has_bf16 else torch.float32


def _load_sentence_transformer(folder: Path, device: str, dtype: torch.dtype) -> TextModel:
    model = SentenceTransformer(
        str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
    )
    return wrap_sentence_transformer(model, folder, device)


def wrap_sentence_transformer(model: Any, folder: Path, device: str = "cpu") -> TextModel:
    """Make a text model of a loaded SentenceTransformer, whatever engine runs it."""
    model.eval()
    prompts = {name: text for name, text in model.prompts.items() if text}
    model.prompts, model.default_prompt_name = {}, None  # prefixes are ours, and in the manifest
    limit = model.max_seq_length or 0
    facts: dict[str, Any] = {
        "dimension": int(model.get_embedding_dimension() or 0),
        "pooling": _name_pooling(model),
        "max_tokens": int(limit) if math.isfinite(limit) else 0,
        "prompts": prompts,
        "is_normalized": _is_cosine(folder),
    }
    if not _is_plain_text(model):
        return _WholeModel(model, **facts)
    return _TokenModel(model.tokenizer, list(model), device, **facts)


def _is_cosine(folder: Path) -> bool | None:
    """Tell by which similarity the model was trained; None where its folder does not say."""
    path = folder / "config_sentence_transformers.json"
    named = orjson.loads(path.read_bytes()).get("similarity_fn_name") if path.is_file() else None
    return None if named is None else named == "cosine"


def _is_plain_text(model: Any) -> bool:
    """Tell whether token ids and their mask are all that the model's modules want."""
    first = model[0]
    return (
        type(first) is Transformer
        and set(first.modality_config) == {"text"}
        and getattr(first.tokenizer, "is_fast", False)
        and not first.processing_kwargs
        and first.query_expansion is None
        and all(getattr(module, "include_prompt", True) for module in model)
    )


def _name_pooling(model: Any) -> str:
    """Join the modes of the pooling modules; a module without a mode does not pool."""
    modes = [module.pooling_mode for module in model if hasattr(module, "pooling_mode")]
    return "+".join(mode if isinstance(mode, str) else "+".join(mode) for mode in modes) or "none"


def _load_plain(folder: Path, pooling: str | None, device: str, dtype: torch.dtype) -> TextModel:
    if pooling is None:
        raise EncoderError(
            f"{folder} does not say how token vectors become one (no modules.json), and its name "
            "is of no known family; give --pooling mean or cls, or --encoder-preset."
        )
    model = _load_transformer(folder, dtype).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pool = Pooling(model.config.hidden_size, pooling)

    def embed(features: dict[str, Any]) -> dict[str, Any]:
        features["token_embeddings"] = model(**features).last_hidden_state.float()
        return features

    # Some tokenizers name no limit (1e30), and some models no positions.
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512)]
    return _TokenModel(
        tokenizer,
        [embed, pool],
        device,
        dimension=model.config.hidden_size,
        pooling=pooling,
        max_tokens=int(min(limits)),
        prompts={},
        is_normalized=None,
    )


def _load_transformer(folder: Path, dtype: torch.dtype) -> Any:
    config = orjson.loads((folder / "config.json").read_bytes())
    tower = _DPR_TOWERS.get((config.get("architectures") or [""])[0])
    if tower is None:
        return AutoModel.from_pretrained(folder, local_files_only=True, dtype=dtype)
    # AutoModel would read a passage tower as a question tower, with random weights.
    tower_class, attribute = tower
    encoder = getattr(
        tower_class.from_pretrained(folder, local_files_only=True, dtype=dtype), attribute
    )
    if encoder.projection_dim:
        raise EncoderError(
            f"{folder} projects its vectors to {encoder.projection_dim} numbers; "
            "only DPR models without projection can be used."
        )
    return encoder.bert_model


@dataclass(slots=True)
class _TokenModel:
    """Calls a fast tokenizer and then each module, with batches of texts of like length."""

    tokenizer: Any
    modules: list[Callable[[dict[str, Any]], dict[str, Any]]]
    device: str
    dimension: int
    pooling: str
    max_tokens: int
    prompts: dict[str, str]
    is_normalized: bool | None
    _split: Any = field(init=False)
    _pad_id: int = field(init=False)

    def __post_init__(self) -> None:
        """Take truncation and padding into our hands."""
        self._split = self.tokenizer.backend_tokenizer
        self._pad_id = self.tokenizer.pad_token_id or 0
        self._split.no_padding()
        if self.max_tokens:
            self._split.enable_truncation(self.max_tokens)

    def encode(
        self, texts: list[str], prefix: str, batch_size: int, is_query: bool
    ) -> NDArray[np.float32]:
        """Return (n, dimension) vectors; queries and passages are treated alike."""
        found = self._split.encode_batch_fast([prefix + text for text in texts])
        ids = [encoding.ids for encoding in found]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches([len(row) for row in ids], batch_size, self.device == "cpu"):
            vectors[batch] = self._forward([ids[at] for at in batch])
        return vectors

    def _forward(self, rows: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, rows))
        padded = [row + [self._pad_id] * (longest - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        with torch.inference_mode():
            features: dict[str, Any] = {
                "input_ids": torch.tensor(padded, device=self.device),  # (B, T)
                "attention_mask": torch.tensor(mask, device=self.device),  # (B, T)
            }
            for module in self.modules:
                features = module(features)
            vectors: NDArray[np.float32] = features["sentence_embedding"].float().cpu().numpy()
        return vectors


def _batches(lengths: list[int], batch_size: int, is_cpu: bool) -> Iterator[list[int]]:
    """Yield places in batches of like length, longest texts first."""
    ordered = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    for start, end in _cuts([lengths[at] for at in ordered]) if is_cpu else [(0, len(ordered))]:
        most = batch_size
        if is_cpu:
            most = min(batch_size, max(_CPU_TOKENS_AT_ONCE // max(lengths[ordered[start]], 1), 1))
        for first in range(start, end, most):
            yield ordered[first : min(first + most, end)]


def _cuts(lengths: list[int]) -> list[tuple[int, int]]:
    """Cut falling lengths into runs where another call costs less than padding them alike would.

    Padding is most of the work where short and long queries meet.
    """
    ends = [at for at in range(1, len(lengths)) if lengths[at] != lengths[at - 1]]
    bounds = [0, *ends, len(lengths)] if lengths else [0]
    cost, cut = [0.0] * len(bounds), [0] * len(bounds)  # of what stands before each bound
    for end in range(1, len(bounds)):
        cost[end], cut[end] = min(
            (cost[i] + _CALL_TOKENS + lengths[bounds[i]] * (bounds[end] - bounds[i]), i)
            for i in range(end)
        )
    runs, end = [], len(bounds) - 1
    while end:
        runs.append((bounds[cut[end]], bounds[end]))
        end = cut[end]
    return runs[::-1]


@dataclass(slots=True)
class _WholeModel:
    """Leaves all to sentence-transformers: static embeddings, routers, chat templates."""

    model: Any
    dimension: int
    pooling: str
    max_tokens: int
    prompts: dict[str, str]
    is_normalized: bool | None

    def encode(
        self, texts: list[str], prefix: str, batch_size: int, is_query: bool
    ) -> NDArray[np.float32]:
        """Return (n, dimension) vectors, by the model's way for queries or for passages."""
        encode = self.model.encode_query if is_query else self.model.encode_document
        vectors = encode(texts, prompt=prefix, batch_size=batch_size, show_progress_bar=False)
        found: NDArray[np.float32] = vectors.astype(np.float32)
        return found
