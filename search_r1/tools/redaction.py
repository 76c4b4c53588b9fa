"""Values of environment variables that a tool sends: no message and no result shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_SHOWN_AS = "***"
_MIN_CHARS = 4  # a shorter value stands in ordinary text, and hides nothing worth hiding
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Secrets:
    """Takes values out of text, in every spelling in which JSON or an address may echo them.

    Args:
        values: What to take out; values under 4 characters are left.
    """

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {s for value in values if len(value) >= _MIN_CHARS for s in _spell(value)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._found = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def redact(self, text: str) -> str:
        """Give a whole text without them; a text is cut afterwards, or half a value stays."""
        return self._found.sub(_SHOWN_AS, text)


def check_header(name: str, value: str, place: str) -> None:
    """Refuse a header that cannot be sent, without showing its value.

    Raises:
        ValueError: If the name is no header's, or the value is not printable ASCII on one line
            without spaces around it.
    """
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(
            f"the header {name!r} of {place} is no header's name; expected letters, digits and -."
        )
    if not is_header_value(value):
        raise ValueError(
            f"the header {name} of {place} cannot be sent; expected printable ASCII on one line "
            "without spaces around it. Correct it, or the environment variable in it."
        )


def is_header_value(text: str) -> bool:
    """Tell whether a text can be sent as the value of a header."""
    return text.isascii() and text.isprintable() and text == text.strip()


def _spell(value: str) -> set[str]:
    written = {
        value,
        *(json.dumps(value, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)),
    }
    written |= {text.replace("/", "\\/") for text in written}  # as some write JSON
    return written | {quote(value), quote(value, safe=""), quote_plus(value)}
