"""Pythonic calls, as Llama 3.2, Llama 4 and ToolACE models write them.

A list of calls with named literal arguments, on a line of its own: ``[search(query="x")]``. Llama 4
may write it between ``<|python_start|>`` and ``<|python_end|>``, anywhere in a line. Results come
back in a turn of the role ``ipython``.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from search_r1.parsers.calls import CallError, make_call, quote
from search_r1.parsers.formats.bodies import MAX_DEPTH, Body, UntilTag
from search_r1.parsers.formats.scanner import BrokenCall, Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser
from search_r1.parsers.results import HEADER_OPEN, LLAMA_MARKERS, write_header_turns
from search_r1.types import ToolCall

PYTHON_START, PYTHON_END = "<|python_start|>", "<|python_end|>"
_MAX_LIST_CHARS = 32_768  # Python's own parser needs about a microsecond for each
_MAX_NAME_CHARS = 128
_MAX_SPACES = 16
_BRACKET_OR_QUOTE = re.compile(r"""["'()\[\]{}]""")
_QUOTE_OR_ESCAPE = {quote: re.compile(rf"[{quote}\\]") for quote in "'\""}
_JSON_NAMES = {"true": True, "false": False, "null": None}
_SPACE = rf"\s{{0,{_MAX_SPACES}}}+"
_BRACKET = rf"(?<=\n)[ \t]{{0,{_MAX_SPACES}}}+\[{_SPACE}"
_NAME = rf"[^\W\d][\w.]{{0,{_MAX_NAME_CHARS - 1}}}+"


class PythonicParser(ScanningParser):
    """Calls as a Python list that begins a line, with named arguments that are literals."""

    opener = re.compile(
        rf"{_BRACKET}{_NAME}{_SPACE}\(|{re.escape(PYTHON_START)}|{re.escape(PYTHON_END)}"
    )
    partial_opener = re.compile(
        rf"(?:{partial_of(PYTHON_START, PYTHON_END)}"
        rf"|(?<=\n)[ \t]{{0,{_MAX_SPACES}}}+(?:\[{_SPACE}(?:{_NAME}{_SPACE})?)?)\Z"
    )
    opener_chars = 3 * _MAX_SPACES + _MAX_NAME_CHARS + 2
    forbidden = (HEADER_OPEN,)
    markers = LLAMA_MARKERS
    syntax = '[tool_name(argument="value")]'

    def body(self, opening: str) -> Body:
        """See the base class. A closing tag is a body of its own."""
        return UntilTag(PYTHON_END) if opening == PYTHON_END else _PythonList()

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class. A broken call does not take the others with it."""
        if raw == PYTHON_END:
            if turn.is_after_call:
                return
            raise CallError(f"{PYTHON_END} closes a list that was never opened")
        tree = _parse(raw.removeprefix(PYTHON_START).strip())
        if not isinstance(tree, ast.List):
            raise CallError("the calls are not one list in square brackets")
        if not tree.elts:
            raise CallError(f"the list after {PYTHON_START} holds no call")
        for node in tree.elts:
            try:
                yield _read_call(node)
            except CallError as error:
                yield BrokenCall(str(error))

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        return 0, "the list of calls was not closed by ]"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text as a turn of the role ``ipython``, then open the model's turn."""
        return write_header_turns(texts)


class _PythonList:
    """Ends with the bracket that closes the first one; brackets inside strings do not count."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""  # the quotes of the open string: one, or three
        self._run = 0  # quotes in a row, up to the place reached
        self._is_empty_or_triple = False  # after two quotes, the next character tells
        self._is_escaped = False

    def find_end(self, text: str, start: int) -> int | None:
        """See :class:`search_r1.parsers.formats.bodies.Body`."""
        position = start
        while position < len(text):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            if self._is_empty_or_triple:
                self._is_empty_or_triple = False
                is_triple = text[position] == self._quote
                self._quote = self._quote * 3 if is_triple else ""
                position += is_triple
                continue
            pattern = _QUOTE_OR_ESCAPE[self._quote[0]] if self._quote else _BRACKET_OR_QUOTE
            match = pattern.search(text, position)
            if match is None or match.start() > position:
                self._run = 0
            if match is None:
                return None
            position = match.end()
            self._take(match.group())
            if self._depth in (0, MAX_DEPTH):
                return position
        return None

    def _take(self, char: str) -> None:
        if not self._quote:
            if char in "'\"":
                self._quote, self._run = char, 1
            else:
                self._depth += 1 if char in "([{" else -1
        elif char == "\\":
            self._is_escaped, self._run = True, 0
        elif len(self._quote) == 3:
            self._run += 1
            if self._run == 3:
                self._quote, self._run = "", 0
        elif self._run == 1:  # directly after the quote that opened it
            self._is_empty_or_triple, self._run = True, 0
        else:
            self._quote = ""


def _parse(text: str) -> ast.expr:
    if len(text) > _MAX_LIST_CHARS:
        raise CallError(
            f"the list of calls has {len(text)} characters; {_MAX_LIST_CHARS} are the most"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes like \\d, which mean what they say
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise CallError(f"the list of calls is not valid Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise CallError(f"the list of calls cannot be read as Python: {error}") from error


def _read_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call):
        raise CallError("an entry of the list is not a call; write name(argument=value)")
    name = _read_name(node.func)
    if node.args:
        raise CallError(f"the arguments of {quote(name)} must be named: {name}(argument=value)")
    arguments = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise CallError(f"the call of {quote(name)} has **; name each argument")
        arguments[keyword.arg] = _read_value(keyword.value)
    return make_call(name, arguments)


def _read_name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise CallError("an entry of the list does not call a tool by its name")
    return ".".join([node.id, *reversed(parts)])


def _read_value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            return node.value
        case ast.Name(id="true" | "false" | "null"):
            return _JSON_NAMES[node.id]
        case ast.List() | ast.Tuple() | ast.Set():
            return [_read_value(item) for item in node.elts]
        case ast.Dict():
            return {
                _read_key(key): _read_value(item)
                for key, item in zip(node.keys, node.values, strict=True)
            }
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.UnaryOp(op=ast.UAdd(), operand=ast.Constant(value=int() | float() as number)):
            return +number
    raise CallError(
        "an argument is not a literal: text, a number, True, False, None, a list, a dict"
    )


def _read_key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise CallError("a key of a dict is not text")
