"""The fastest way that OpenVINO reads a text model, if it gives the vectors that torch gives."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retriever.encoders.openvino_model import Run, compile_module, is_available
from retriever.encoders.text_readers import POOLED_BY_PACKING, PackedReader, PaddedReader, Reader

logger = logging.getLogger(__name__)

_MADE_UP = (23, 4, 9, 1, 30, 31, 7)  # lengths of texts; some share a row, some are alone
# Rounding to bf16 leaves a deep model above 0.999; a mask that is not heeded falls below this.
_LEAST_COSINE = 0.99
_UNSEEN = -1e9


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A text model in float32, and what readers must know of it."""

    embed: torch.nn.Module
    """Token ids (B, T) and their mask (B, T), 0 where padded, to vectors (B, D)."""
    core: torch.nn.Module | None
    """The Hugging Face model in it, where nothing but pooling and scaling follows."""
    pooling: str
    is_unit: bool
    """Its vectors have length 1."""
    dimension: int
    most_ids: int
    """Token ids are smaller than this."""
    pad_id: int


def find_compiled_reader(loaded: LoadedModel, precision: torch.dtype) -> Reader | None:
    """Compile a model for the CPU; None if OpenVINO is missing or no way gives right vectors."""
    if not is_available(precision):
        return None
    texts = _make_up_texts(loaded)
    wanted = PaddedReader(run_by_torch(loaded.embed), loaded.dimension, loaded.pad_id, True)
    vectors = wanted.read(texts, len(texts))
    reasons = []
    for make in (_packed, _padded):
        try:
            rated = [
                (_least_cosine(reader.read(texts, len(texts)), vectors), reader)
                for reader in make(loaded, precision)
            ]
        except Exception as error:  # noqa: BLE001  a converter may raise anything; torch goes on
            reasons.append(str(error).strip().partition("\n")[0] or type(error).__name__)
            continue
        cosine, best = max(rated, key=lambda row: row[0], default=(0.0, None))
        if cosine >= _LEAST_COSINE:
            return best
        reasons.append(f"its vectors differ from torch's (cosine {cosine:.4f})")
    logger.warning("OpenVINO cannot run this encoder, torch runs it, slower: %s", reasons[-1])
    return None


def _make_up_texts(loaded: LoadedModel) -> list[list[int]]:
    random = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(loaded.most_ids), [loaded.pad_id])  # text holds no padding
    return [random.choice(ids, length).tolist() for length in _MADE_UP]


def run_by_torch(module: torch.nn.Module, device: str = "cpu") -> Run:
    """Let torch run a module on arrays."""

    def run(*arrays: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(device) for array in arrays]
            output: NDArray[np.float32] = module(*tensors).cpu().numpy()
        return output

    return run


def _least_cosine(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((found * wanted).sum(axis=1) / lengths).min())


def _packed(loaded: LoadedModel, precision: torch.dtype) -> Iterator[Reader]:
    """Give readers that count positions in the ways there are."""
    if loaded.core is None or loaded.pooling not in POOLED_BY_PACKING:
        return
    rows = np.array([[3, 4, 5, 6, 7, 0], [5, 6, 7, 8, 0, 0]])
    texts = np.array([[0, 0, 1, 1, 1, -1], [2, 2, 2, 2, -1, -1]])
    positions = np.array([[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 0, 0]])
    run = compile_module(_PackedModel(loaded.core), [rows, positions, texts], precision)
    facts = (loaded.dimension, loaded.pad_id, loaded.pooling)
    for first_position in (0, loaded.pad_id + 1):
        yield PackedReader(run, *facts, first_position, loaded.is_unit)


def _padded(loaded: LoadedModel, precision: torch.dtype) -> Iterator[Reader]:
    run = compile_padded(loaded.embed, precision)
    yield PaddedReader(run, loaded.dimension, loaded.pad_id, is_cpu=True)


def compile_padded(embed: torch.nn.Module, precision: torch.dtype) -> Run:
    """Compile a module from token ids (B, T) and their mask to vectors (B, D)."""
    ids, mask = np.array([[5, 6, 7, 8], [5, 6, 7, 0]]), np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    return compile_module(embed, [ids, mask], precision)


class _PackedModel(torch.nn.Module):  # type: ignore[misc]
    """A Hugging Face model that reads rows of texts, each of which sees only itself."""

    def __init__(self, core: torch.nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, texts: torch.Tensor
    ) -> torch.Tensor:
        is_seen = (texts.unsqueeze(1) == texts.unsqueeze(2)).unsqueeze(1)  # (R, 1, W, W)
        mask = torch.where(is_seen, 0.0, _UNSEEN)
        return self.core(
            input_ids=ids, position_ids=positions, attention_mask=mask
        ).last_hidden_state.float()
