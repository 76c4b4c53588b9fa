"""Mistral calls, in both shapes that follow ``[TOOL_CALLS]``.

A JSON list of calls (tokenizers before v11), or a name and its arguments: ``name{...}`` and
``name[ARGS]{...}``, each after a marker of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from search_r1.parsers.calls import CallError, make_call, quote, read_call, read_json
from search_r1.parsers.formats.bodies import Body, MarkedJson
from search_r1.parsers.formats.scanner import BrokenCall, Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser

MARKER = "[TOOL_CALLS]"
_RESULTS_OPEN, _RESULTS_CLOSE = "[TOOL_RESULTS]", "[/TOOL_RESULTS]"
_MAX_HEAD_CHARS = 256  # a longer "name" is prose
_CALL_ID = re.compile(r"\[CALL_ID\][^\[]*+")
_NAME = re.compile(r"[\w.-]++")


class MistralParser(ScanningParser):
    """Calls after ``[TOOL_CALLS]``, as a JSON list or as a name with its arguments."""

    opener = re.compile(re.escape(MARKER))
    partial_opener = re.compile(rf"(?:{partial_of(MARKER)})\Z")
    opener_chars = len(MARKER)
    forbidden = (_RESULTS_OPEN,)
    markers = (MARKER, _RESULTS_OPEN, _RESULTS_CLOSE)
    syntax = f'{MARKER}[{{"name": "...", "arguments": {{...}}}}]'

    def body(self, opening: str) -> Body:
        """See the base class."""
        return MarkedJson(MARKER, _MAX_HEAD_CHARS, "[{")

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class."""
        written = raw.removeprefix(MARKER).strip()
        if written.startswith("["):
            yield from _read_list(written)
            return
        head, brace, rest = written.partition("{")
        if brace and head.rstrip().endswith("["):  # text stands before the list
            yield from _read_list(f"[{brace}{rest}")
            return
        name = _CALL_ID.sub("", head).strip().removesuffix("[ARGS]").rstrip()
        if not _NAME.fullmatch(name):
            found = quote(head.strip() or brace)
            raise CallError(f"after {MARKER} a tool's name or a list was expected, not {found}")
        if not brace:
            raise CallError(f"the name {quote(name)} is not followed by arguments in braces")
        yield make_call(name, read_json(brace + rest, f"what follows the name {quote(name)}"))

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        return 0, f"the call after {MARKER} was not closed"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text between ``[TOOL_RESULTS]`` markers."""
        return "".join(f"{_RESULTS_OPEN}{text}{_RESULTS_CLOSE}" for text in texts)


def _read_list(written: str) -> Iterable[Item]:
    """Read a JSON list of calls; a broken one does not take the others with it."""
    calls = read_json(written, f"the list after {MARKER}")
    if not calls:
        raise CallError(f"the list after {MARKER} holds no call")
    for call in calls:
        try:
            yield read_call(call)
        except CallError as error:
            yield BrokenCall(str(error))
