"""The text of each token, with the tokenizers library alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BROKEN = "\ufffd"  # what a piece of a character decodes to


class TokenTexts:
    """Decodes ids one by one so that the texts add up to the text of all.

    Args:
        path: A ``tokenizer.json``.

    Raises:
        ValueError: If it is none.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer  # late: most pages are opened without

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(
                f"{path} is no tokenizer ({error}); expected a tokenizer.json. Give another "
                "--tokenizer DIR."
            ) from error

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to the text they stand for, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def split(self, ids: Sequence[int]) -> list[str]:
        """Give one text per id; of ids that only together make a character the first has it.

        A text is what its id adds after the one before: some tokenizers drop the space that begins
        a text.
        """
        units = self._units(ids)
        befores = [[], *units[:-1]] if units else []
        alone = self._decode_all(befores)
        longer = self._decode_all([[*b, *unit] for b, unit in zip(befores, units, strict=True)])
        texts: list[str] = []
        for before, both, unit in zip(alone, longer, units, strict=True):
            texts += [both.removeprefix(before), *[""] * (len(unit) - 1)]
        return texts

    def _units(self, ids: Sequence[int]) -> list[list[int]]:
        """Put ids together that make no character each."""
        units: list[list[int]] = []
        is_open = False
        for token_id, text in zip(ids, self._decode_all([[one] for one in ids]), strict=True):
            if is_open and _BROKEN in text:
                units[-1].append(token_id)
                is_open = _BROKEN in self.decode(units[-1])
            else:
                units.append([token_id])
                is_open = _BROKEN in text
        return units

    def _decode_all(self, batches: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self._tokenizer.decode_batch(
            [list(ids) for ids in batches], skip_special_tokens=False
        )
        return texts


@functools.lru_cache(maxsize=8)
def open_tokenizer(path: Path) -> TokenTexts:
    """Open a tokenizer once."""
    return TokenTexts(path)
