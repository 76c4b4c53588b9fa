"""Models run by OpenVINO: on CPUs it calls a model several times faster than torch does."""

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

Run = Callable[..., NDArray[np.float32]]
"""Arrays in the order of the module's arguments, to its output."""

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
# Kernels are kept for every shape of a batch; batches of queries have ever new shapes.
_KEPT_KERNELS = 32


def is_available(precision: torch.dtype) -> bool:
    """Tell whether OpenVINO is installed and computes in this precision on CPUs."""
    return precision in _HINTS and importlib.util.find_spec("openvino") is not None


def compile_module(
    module: torch.nn.Module, example: list[NDArray[Any]], precision: torch.dtype
) -> Run:
    """Trace a float32 module and compile it for the CPU.

    Args:
        module: It is not kept.
        example: Its arguments; every size may be another one later.
        precision: What to compute in: float32 or bfloat16.

    Raises:
        Exception: Anything, from models that cannot be traced or converted.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    tensors = tuple(torch.from_numpy(array) for array in example)
    with torch.inference_mode(), _quiet():
        decoder = TorchScriptPythonDecoder(module, example_input=tensors)
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

    def run(*arrays: NDArray[Any]) -> NDArray[np.float32]:
        with is_free:  # the next batch overwrites the output
            output: NDArray[np.float32] = request.infer(list(arrays))[0].copy()
        return output

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what is said of tracing; whether it went well is seen by the vectors."""
    said = logging.getLogger("transformers")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            yield
    finally:
        said.setLevel(level)
