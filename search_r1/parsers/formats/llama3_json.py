"""Llama 3 calls: bare JSON objects with a name and parameters.

``<|python_tag|>`` may stand before them; several are separated by semicolons. Results come back in
a turn of the role ``ipython``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from search_r1.parsers.calls import CallError, read_call, read_json
from search_r1.parsers.formats.bodies import Body, JsonBody, MarkedJson
from search_r1.parsers.formats.scanner import Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser
from search_r1.parsers.results import HEADER_OPEN, LLAMA_MARKERS, write_header_turns

PYTHON_TAG = "<|python_tag|>"
_KEYS = ("name", "type", "function", "parameters", "arguments")
_MAX_SPACES = 32  # between the brace and the first key; keeps what may become a call short
_KEY_BEGINNINGS = partial_of(*(f'"{key}"' for key in _KEYS))


class Llama3JsonParser(ScanningParser):
    """Calls as ``{"name": ..., "parameters": {...}}``, anywhere in a turn.

    An object is a call when its first key is one of a call's, so that other JSON, or a brace in
    prose, is text. After ``<|python_tag|>`` there must be a call.
    """

    opener = re.compile(
        rf'{re.escape(PYTHON_TAG)}|\{{\s{{0,{_MAX_SPACES}}}+"(?:{"|".join(_KEYS)})"'
    )
    partial_opener = re.compile(
        rf"(?:{partial_of(PYTHON_TAG)}|\{{\s{{0,{_MAX_SPACES}}}+(?:{_KEY_BEGINNINGS})?)\Z"
    )
    opener_chars = _MAX_SPACES + len('{"parameters"')
    separators = " \t\r\n;"
    forbidden = (HEADER_OPEN,)
    markers = LLAMA_MARKERS
    syntax = '{"name": "...", "parameters": {...}}'

    def body(self, opening: str) -> Body:
        """See the base class."""
        return MarkedJson(PYTHON_TAG, 0, "{") if opening == PYTHON_TAG else JsonBody()

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class."""
        written = raw.removeprefix(PYTHON_TAG).lstrip()
        if not written.startswith("{"):
            raise CallError(f"{PYTHON_TAG} was not followed by a JSON object")
        yield read_call(read_json(written, "the call"), ("parameters", "arguments"))

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        return 0, "the JSON object of the call was not closed"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text as a turn of the role ``ipython``, then open the model's turn."""
        return write_header_turns(texts)
