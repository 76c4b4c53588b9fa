"""Text to token ids and back, with the three settings that keep a trajectory exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Codec(Protocol):
    """What the loop needs of a tokenizer."""

    eos_ids: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Encode text on its own: no special token added, none recognised in the text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to exactly the text they stand for, special tokens included."""
        ...


class HfCodec:
    """A Hugging Face tokenizer as a :class:`Codec`.

    A passage that happens to contain ``<|im_end|>`` is encoded as characters, never as the special
    token: retrieved text must not be able to end a turn.

    Args:
        tokenizer: A fast tokenizer.
        eos_ids: Ids that end the model's text; the tokenizer's own ``eos_token_id`` when empty.
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self.eos_ids = frozenset(eos_ids or [tokenizer.eos_token_id])

    def encode(self, text: str) -> list[int]:
        """Encode text on its own: no special token added, none recognised in the text."""
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return list(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to exactly the text they stand for, special tokens included."""
        text = self._tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)
