"""How large a model is, from the headers of its files; nothing is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Counts of numbers, whatever type they are kept in."""

    parameters: int
    """All weights; tied ones once."""
    largest: int
    """The largest tensor, mostly the embedding."""
    vocabulary: int
    """Logits of a token."""
    activations: int
    """What training keeps of a token between forward and backward, logits aside."""


def read_model_size(folder: str) -> ModelSize | None:
    """Read the size of a model; None when its weights are not in this folder as safetensors."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        sizes = [size for file in Path(folder).glob("*.safetensors") for size in _tensors(file)]
    except (OSError, ValueError):
        return None
    config = config.get("text_config", config)
    if not sizes or not {"vocab_size", "hidden_size", "num_hidden_layers"} <= config.keys():
        return None
    hidden = config["hidden_size"]
    inner = config.get("intermediate_size") or 4 * hidden
    return ModelSize(
        parameters=sum(sizes),
        largest=max(sizes),
        vocabulary=config["vocab_size"],
        # Counted over the tensors that autograd saves for Llama and Qwen2 layers.
        activations=config["num_hidden_layers"] * (8 * hidden + 4 * inner),
    )


def _tensors(file: Path) -> list[int]:
    """Count the numbers of each tensor of a safetensors file."""
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        header: dict[str, Any] = json.loads(content.read(length))
    return [math.prod(header[name]["shape"]) for name in header if name != "__metadata__"]
