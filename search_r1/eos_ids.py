"""Where a model's text ends: the same ids for training, checks and serving."""

from __future__ import annotations

import functools
from typing import Any


def eos_ids_of(model: str, tokenizer: Any) -> tuple[int, ...]:
    """Give every id at which vLLM ends the text: instruct models list several.

    Args:
        model: Folder or hub name of the model.
        tokenizer: Its tokenizer, whose own id counts where the model lists none.
    """
    return _listed_eos_ids(model) or (tokenizer.eos_token_id,)


@functools.cache
def _listed_eos_ids(model: str) -> tuple[int, ...]:
    from transformers import AutoConfig, GenerationConfig

    ids: set[int] = set()
    for kind in (GenerationConfig, AutoConfig) if model else ():
        try:
            eos = kind.from_pretrained(model).eos_token_id
        except (OSError, ValueError, AttributeError):  # the file or the field is missing
            continue
        ids |= set(eos) if isinstance(eos, list) else {eos} - {None}
    return tuple(sorted(ids))
