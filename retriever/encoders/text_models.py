"""Models that turn texts into vectors, loaded from a folder, offline.

Two kinds of folder are read: sentence-transformers (with modules.json), and plain Hugging Face,
whose pooling the caller names. On a CPU OpenVINO runs the model where it can, and torch otherwise.
Calling tokenizer and model here, instead of through ``SentenceTransformer.encode``, takes a third
off the time of a lone query.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoModel, AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

import processor
from retriever.encoders.compiled_reader import LoadedModel, find_compiled_reader, run_by_torch
from retriever.encoders.text_readers import PaddedReader, Reader
from retriever.errors import EncoderError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_DPR_TOWERS = {
    "DPRContextEncoder": (DPRContextEncoder, "ctx_encoder"),
    "DPRQuestionEncoder": (DPRQuestionEncoder, "question_encoder"),
}


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
    folder: Path,
    pooling: str | None,
    device: str = "cpu",
    precision: str | None = None,
    engine: str | None = None,
) -> TextModel:
    """Load a model.

    Args:
        folder: A sentence-transformers or plain Hugging Face folder.
        pooling: For a plain folder; one of sentence-transformers' pooling modes.
        device: cpu, cuda, or one GPU such as cuda:1.
        precision: fp32, bf16 or fp16; None takes what is fast on the device.
        engine: torch; None also takes what is faster on the device.

    Raises:
        EncoderError: If the model cannot be loaded, or its pooling is not known.
    """
    dtype = PRECISIONS[precision] if precision else _fast_precision(device)
    is_compiled = device == "cpu" and engine is None
    try:
        if (folder / "modules.json").is_file():
            return _load_sentence_transformer(folder, device, dtype, is_compiled)
        return _load_plain(folder, pooling, device, dtype, is_compiled)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EncoderError(f"the model at {folder} cannot be loaded: {error}") from error


def _fast_precision(device: str) -> torch.dtype:
    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return PRECISIONS[processor.fast_dtype()]


def _load_sentence_transformer(
    folder: Path, device: str, dtype: torch.dtype, is_compiled: bool
) -> TextModel:
    options = {"dtype": torch.float32 if is_compiled else dtype}
    model = SentenceTransformer(
        str(folder), device=device, local_files_only=True, model_kwargs=options
    )
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
        return _WholeModel(model.to(dtype), **facts)
    loaded = _inspect(list(model), model.tokenizer, facts["dimension"], facts["pooling"])
    reader = _make_reader(loaded, device, dtype, is_compiled)
    return _TokenModel(model.tokenizer, reader, **facts)


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


def _load_plain(
    folder: Path, pooling: str | None, device: str, dtype: torch.dtype, is_compiled: bool
) -> TextModel:
    if pooling is None:
        raise EncoderError(
            f"{folder} does not say how token vectors become one (no modules.json), and its name "
            "is of no known family; give --pooling mean or cls, or --encoder-preset."
        )
    loaded_as = torch.float32 if is_compiled else dtype
    model = _load_transformer(folder, loaded_as).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    dimension = model.config.hidden_size
    modules = [_LastHidden(model), Pooling(dimension, pooling)]
    loaded = _inspect(modules, tokenizer, dimension, pooling)
    # Some tokenizers name no limit (1e30), and some models no positions.
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512)]
    return _TokenModel(
        tokenizer,
        _make_reader(loaded, device, dtype, is_compiled),
        dimension=dimension,
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


class _LastHidden(torch.nn.Module):  # type: ignore[misc]
    """The token vectors of a Hugging Face model, as sentence-transformers' modules take them."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["token_embeddings"] = self.model(**features).last_hidden_state.float()
        return features


class ModuleRow(torch.nn.Module):  # type: ignore[misc]
    """Modules in a row, from token ids (B, T) and their mask to vectors (B, D)."""

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        super().__init__()
        self.row = torch.nn.ModuleList(modules)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return float32 vectors, not normalised."""
        features: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        for module in self.row:
            features = module(features)
        return features["sentence_embedding"].float()


def _inspect(modules: list[Any], tokenizer: Any, dimension: int, pooling: str) -> LoadedModel:
    """Tell readers what they must know of modules, the first of which wraps a model."""
    is_simple = all(type(module) in (Pooling, Normalize) for module in modules[1:])
    return LoadedModel(
        embed=ModuleRow(modules),
        core=modules[0].model if is_simple else None,
        pooling=pooling,
        is_unit=any(type(module) is Normalize for module in modules),
        dimension=dimension,
        most_ids=len(tokenizer),
        pad_id=tokenizer.pad_token_id or 0,
    )


def _make_reader(loaded: LoadedModel, device: str, dtype: torch.dtype, is_compiled: bool) -> Reader:
    compiled = find_compiled_reader(loaded, dtype) if is_compiled else None
    if compiled is not None:
        return compiled
    embed = run_by_torch(loaded.embed.to(dtype), device)
    return PaddedReader(embed, loaded.dimension, loaded.pad_id, device == "cpu")


@dataclass(slots=True)
class _TokenModel:
    """Calls a fast tokenizer and then the model."""

    tokenizer: Any
    reader: Reader
    dimension: int
    pooling: str
    max_tokens: int
    prompts: dict[str, str]
    is_normalized: bool | None
    _split: Any = field(init=False)

    def __post_init__(self) -> None:
        """Take truncation and padding into our hands."""
        self._split = self.tokenizer.backend_tokenizer
        self._split.no_padding()
        if self.max_tokens:
            self._split.enable_truncation(self.max_tokens)

    def encode(
        self, texts: list[str], prefix: str, batch_size: int, is_query: bool
    ) -> NDArray[np.float32]:
        """Return (n, dimension) vectors; queries and passages are treated alike."""
        found = self._split.encode_batch_fast([prefix + text for text in texts])
        return self.reader.read([encoding.ids for encoding in found], batch_size)


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
