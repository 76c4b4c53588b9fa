"""Text models run by OpenVINO: on CPUs it calls a model several times faster than torch does."""

import importlib.util
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Embed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Token ids (B, T) and their mask (B, T), 0 where padded, to vectors (B, D)."""

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
# Kernels are kept for every shape of a batch; batches of queries have ever new shapes.
_KEPT_KERNELS = 32
_TRACED, _CHECKED = (4, 9), ((1, 5), (2, 12, 3))  # lengths of made-up texts, in batches
# Rounding to bf16 leaves a deep model above 0.999; a mask that is not heeded falls below this.
_LEAST_COSINE = 0.99


def compile_module(module: torch.nn.Module, precision: torch.dtype, most_ids: int) -> Embed | None:
    """Compile a model in float32 for the CPU; None if OpenVINO is missing or cannot run it.

    Args:
        module: Takes token ids and their mask, and gives vectors. It is not kept.
        precision: What to compute in: float32 or bfloat16.
        most_ids: Size of the vocabulary.
    """
    if precision not in _HINTS or importlib.util.find_spec("openvino") is None:
        return None
    try:
        embed = _compile(module, precision, most_ids)
        cosine = min(_compare(module, embed, lengths, most_ids) for lengths in _CHECKED)
    except Exception as error:  # noqa: BLE001  a converter may raise anything, and torch goes on
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
    else:
        if cosine >= _LEAST_COSINE:
            return embed
        reason = f"its vectors differ from torch's (cosine {cosine:.4f})"
    logger.warning("OpenVINO cannot run this encoder, torch runs it, slower: %s", reason)
    return None


def _compile(module: torch.nn.Module, precision: torch.dtype, most_ids: int) -> Embed:
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    ids, mask = _make_up(_TRACED, most_ids)
    example = (torch.from_numpy(ids), torch.from_numpy(mask))
    with torch.inference_mode(), _quiet():
        decoder = TorchScriptPythonDecoder(module, example_input=example)
        # openvino.convert_model does the same, and sends statistics to its makers.
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    is_free = threading.Lock()

    def embed(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with (
            is_free
        ):  # a request runs one batch at a time, and its output is overwritten by the next
            vectors: NDArray[np.float32] = request.infer([ids, mask])[0].copy()
        return vectors

    return embed


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what is said of tracing; whether it went well is seen by its vectors."""
    said = logging.getLogger("transformers")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            yield
    finally:
        said.setLevel(level)


def _make_up(lengths: tuple[int, ...], most_ids: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give ids of texts of these lengths, padded, and their mask."""
    random = np.random.default_rng(0)
    ids = random.integers(0, most_ids, (len(lengths), max(lengths)), dtype=np.int64)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return ids, mask


def _compare(
    module: torch.nn.Module, embed: Embed, lengths: tuple[int, ...], most_ids: int
) -> float:
    """Give the least cosine between both engines' vectors of made-up texts."""
    ids, mask = _make_up(lengths, most_ids)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    found = embed(ids, mask)
    both = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    return float(((wanted * found).sum(axis=1) / both).min())
