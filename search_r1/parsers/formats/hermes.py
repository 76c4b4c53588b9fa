"""Hermes calls, as Qwen2.5, Qwen3 and the NousResearch models write them.

``<tool_call>`` holds one JSON object with a name and arguments; results come back between
``<tool_response>`` tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from search_r1.parsers.base import ToolSchema
from search_r1.parsers.calls import CallError, read_call, read_json
from search_r1.parsers.formats.bodies import Body, UntilTag
from search_r1.parsers.formats.scanner import Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser
from search_r1.parsers.results import RESPONSE_CLOSE, RESPONSE_OPEN, write_tool_responses
from search_r1.types import ToolCall

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"


class HermesParser(ScanningParser):
    """Calls as JSON between ``<tool_call>`` tags, several in a turn.

    The first closing tag ends a call, even inside a JSON string.

    Args:
        tokenizer: Not needed.
        tools: Not needed; arguments have types of their own.
        is_single_call: Stop at the first closing tag, for models that do not end their turns.
    """

    opener = re.compile(f"{CALL_OPEN}|{CALL_CLOSE}")
    partial_opener = re.compile(f"(?:{partial_of(CALL_OPEN, CALL_CLOSE)})\\Z")
    opener_chars = len(CALL_CLOSE)
    forbidden = (RESPONSE_OPEN,)
    markers = (CALL_OPEN, CALL_CLOSE, RESPONSE_OPEN, RESPONSE_CLOSE)
    syntax = f'{CALL_OPEN}\n{{"name": "...", "arguments": {{...}}}}\n{CALL_CLOSE}'

    def __init__(
        self,
        tokenizer: Any = None,
        tools: Sequence[ToolSchema] = (),
        *,
        is_single_call: bool = False,
    ) -> None:
        super().__init__(tokenizer, tools)
        self.stop = (CALL_CLOSE,) if is_single_call else ()

    def write_call(self, call: ToolCall) -> str:
        """See the base class."""
        written = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        return self._as_read(f"{CALL_OPEN}\n{written}\n{CALL_CLOSE}", call)

    def body(self, opening: str) -> Body:
        """See the base class."""
        return UntilTag(CALL_CLOSE)

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class."""
        if raw == CALL_CLOSE:
            raise CallError(f"{CALL_CLOSE} closes a call that was never opened by {CALL_OPEN}")
        written = raw.removeprefix(CALL_OPEN).removesuffix(CALL_CLOSE)
        if not written.strip():
            raise CallError(f"there is nothing between {CALL_OPEN} and {CALL_CLOSE}")
        yield read_call(read_json(written, f"the text between {CALL_OPEN} and {CALL_CLOSE}"))

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        return 0, f"{CALL_OPEN} was not closed by {CALL_CLOSE}"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text between its own tags, one below the other, as the templates do."""
        return write_tool_responses(texts)
