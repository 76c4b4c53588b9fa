"""Where a model's turns end: the same ids for rollouts, training, checks and serving."""

from __future__ import annotations

import functools
from typing import Any


def eos_ids_of(model: str, tokenizer: Any) -> tuple[int, ...]:
    """Give every id at which vLLM ends a turn: the tokenizer's, and those the model lists.

    Args:
        model: Folder or hub name of the model; empty when there is none beside the tokenizer.
        tokenizer: Its tokenizer.

    Returns:
        The ids, the tokenizer's own first: with it the model's chat template ends a turn.

    Raises:
        ValueError: If neither names one.
    """
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = tuple(dict.fromkeys([*own, *(_listed_eos_ids(model) if model else ())]))
    if not ids:
        raise ValueError(
            f"the model {model!r} names no token at which its turns end, neither as eos_token of "
            "its tokenizer nor as eos_token_id in generation_config.json; add one of them."
        )
    return ids


@functools.cache
def _listed_eos_ids(model: str) -> tuple[int, ...]:
    """Read the ids as vLLM does: of config.json only where there is no generation_config.json."""
    from transformers import AutoConfig, GenerationConfig

    try:
        listed = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        try:
            config = AutoConfig.from_pretrained(model)
        except (OSError, ValueError):  # missing, or of a kind that transformers does not know
            return ()
        listed = GenerationConfig.from_model_config(config).eos_token_id
    if listed is None:
        return ()
    return tuple(sorted(listed)) if isinstance(listed, list) else (listed,)
