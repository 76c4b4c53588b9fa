"""Attention over packed sequences on a CPU: each by itself, no padding, no block-diagonal mask.

verl's padding-free path (``use_remove_padding``) concatenates the sequences of a micro-batch and
lets FlashAttention tell them apart by their position ids. This does the same with PyTorch's own
kernel, through the attention registry of transformers; ``attn_implementation`` chooses it by name.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "search_r1_packed"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # (B, H, T, D)
    key: torch.Tensor,  # (B, H_kv, T, D)
    value: torch.Tensor,  # (B, H_kv, T, D)
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: torch.Tensor | None = None,  # (B, T); restarts at 0 with every packed sequence
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within each sequence of a packed row; one begins where positions restart.

    Returns:
        The output, shape (B, T, H, D), and None in place of attention weights.

    Raises:
        ValueError: Without position ids, or with more than one row, which only padded batches have;
            and for what this does not compute: capped scores, attention sinks, and a window that a
            sequence is longer than.
    """
    if position_ids is None or query.shape[0] != 1:
        raise ValueError(
            f"packed attention got {query.shape[0]} rows, positions: {position_ids is not None}; "
            "it serves padding-free training only. Set model.use_remove_padding=True."
        )
    starts = (position_ids[0] == 0).nonzero().flatten().tolist()
    bounds = [*starts, query.shape[2]]
    lengths = [end - start for start, end in itertools.pairwise(bounds)]
    _require_plain(module, max(lengths), sliding_window, softcap, s_aux)
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        for q, k, v in zip(
            query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _require_plain(
    module: torch.nn.Module,
    longest: int,
    sliding_window: int | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> None:
    """Refuse what is not computed here; a window as long as every sequence changes nothing."""
    is_causal = getattr(module, "is_causal", True)
    has_window = sliding_window is not None and longest > sliding_window
    if has_window or softcap is not None or sinks is not None or not is_causal:
        raise ValueError(
            f"{type(module).__name__} asks for sliding_window={sliding_window} over sequences of "
            f"up to {longest} tokens, softcap={softcap}, sinks: {sinks is not None}, causal: "
            f"{is_causal}; {NAME} computes plain causal attention. Take another model, or set "
            "actor_rollout_ref.model.use_remove_padding=False and "
            "actor_rollout_ref.model.override_config.attn_implementation=eager."
        )


def _no_mask(*_: Any, **__: Any) -> None:
    """Make no mask: :func:`packed_attention` is causal by itself."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
