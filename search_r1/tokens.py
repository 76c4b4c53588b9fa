"""Text to token ids and back, with the settings that keep a trajectory exact."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_ANCHOR = "\n"  # what stands before a text that continues another one
_SAMPLE = "x\n <a>1, 2</a>\n\n"  # white space and tags, which some tokenizers lose
_REMEMBERED_TEXTS = 2048  # a group of trajectories reads the same passages
_REMEMBERED_CHARS = 4000  # longer texts are seldom read twice, and take memory


class Codec(Protocol):
    """What the loop needs of a tokenizer."""

    eos_ids: tuple[int, ...]
    """Ids that end a turn; the first is the one a written turn gets."""
    special_ids: Mapping[str, int]
    """Special tokens by their text."""

    def encode(self, text: str) -> list[int]:
        """Encode text as it continues other text: no special token added, none recognised in it."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to exactly the text they stand for, special tokens included."""
        ...


class HfCodec:
    """A Hugging Face tokenizer as a :class:`Codec`.

    A passage that happens to contain ``<|im_end|>`` is encoded as characters, never as the special
    token: retrieved text must not be able to end a turn.

    SentencePiece tokenizers put a space before the text they encode, and take one from the text
    they decode, as if every text began a document. Here a text continues another one, so both are
    done behind an anchor, which is then taken off.

    Args:
        tokenizer: A fast tokenizer; it is copied, because the settings differ.
        eos_ids: Ids that end a turn, see :func:`search_r1.eos_ids.eos_ids_of`; the tokenizer's own
            ``eos_token_id`` when empty.

    Raises:
        ValueError: If the tokenizer is not a fast one, or loses white space or tags.
    """

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int] = ()) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ValueError(
                f"{type(tokenizer).__name__} is not a fast tokenizer; save one with a "
                "tokenizer.json beside the model (AutoTokenizer.from_pretrained converts most)."
            )
        self._tokenizer = copy.deepcopy(backend)
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.eos_ids = tuple(eos_ids or [tokenizer.eos_token_id])
        self.special_ids: Mapping[str, int] = {
            token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens
        } | {
            token.content: token_id
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.special
        }
        # Some tokenizers list special tokens that they do not mark as special.
        self._tokenizer.add_special_tokens(list(self.special_ids))
        self._anchor_ids: list[int] = []
        if self.decode([*self._encode_alone("x"), *self._encode_alone("x")]) != "xx":
            self._anchor_ids = self._encode_alone(_ANCHOR)
        alone, whole = self._encode_alone("x"), list(self._tokenizer.encode("x").ids)
        self.opening_ids = whole[: whole.index(alone[0])]
        """What the tokenizer begins every text with, such as Llama's ``<|begin_of_text|>``."""
        self._encode = functools.lru_cache(_REMEMBERED_TEXTS)(self._encode_after_anchor)
        back = self.decode(self.encode(_SAMPLE))
        if back != _SAMPLE:
            raise ValueError(
                f"the tokenizer turns {_SAMPLE!r} into {back!r}; a trajectory needs one that gives "
                "back what it encoded. Use the model's own tokenizer, without clean-up."
            )

    def encode(self, text: str) -> list[int]:
        """Encode text as it continues other text: no special token added, none recognised in it."""
        encode = self._encode if len(text) <= _REMEMBERED_CHARS else self._encode_after_anchor
        return list(encode(text))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the ids of each text, all texts at once on every core."""
        anchor = _ANCHOR if self._anchor_ids else ""
        encoded = self._tokenizer.encode_batch_fast(
            [anchor + text for text in texts], add_special_tokens=False
        )
        return [len(one.ids) - len(self._anchor_ids) for one in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to exactly the text they stand for, special tokens included."""
        if not self._anchor_ids:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
        text = self._tokenizer.decode([*self._anchor_ids, *ids], skip_special_tokens=False)
        return str(text)[len(_ANCHOR) :]

    def _encode_alone(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _encode_after_anchor(self, text: str) -> tuple[int, ...]:
        if not self._anchor_ids:
            return tuple(self._encode_alone(text))
        return tuple(self._encode_alone(_ANCHOR + text)[len(self._anchor_ids) :])
