"""Other weights for a vLLM engine that is running, inside its worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open


class WeightLoader:
    """Mixed into vLLM's worker, as its ``worker_extension_cls``."""

    model_runner: Any

    def load_folder(self, folder: str) -> None:
        """Take the weights of another model of the same architecture.

        Args:
            folder: Holds ``*.safetensors``.

        Raises:
            ValueError: If it holds none.
        """
        files = sorted(Path(folder).glob("*.safetensors"))
        if not files:
            raise ValueError(f"{folder} holds no *.safetensors; give the folder of a saved model.")
        dtype = self.model_runner.model_config.dtype
        self.model_runner.reload_weights(weights_iterator=_read(files, dtype))
        repack_tied_head(self.model_runner.model)


def repack_tied_head(model: torch.nn.Module) -> None:
    """Pack a tied ``lm_head`` again: vLLM's reload on CPUs skips it and keeps the old weights."""
    head = getattr(model, "lm_head", None)
    quant_method = getattr(head, "quant_method", None)
    if quant_method is not None:
        quant_method.process_weights_after_loading(head)


def _read(files: list[Path], dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  it is no mapping
                yield name, tensors.get_tensor(name).to(dtype)
