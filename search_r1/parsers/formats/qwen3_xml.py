"""Qwen3-Coder's XML calls: ``<function=NAME>`` holds ``<parameter=KEY>value</parameter>``.

The functions stand between ``<tool_call>`` tags, which models sometimes leave out. Values are plain
text; what they are is looked up in the tool's schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search_r1.parsers.base import ToolSchema
from search_r1.parsers.calls import CallError, make_call, quote
from search_r1.parsers.formats.bodies import Body, UntilTag
from search_r1.parsers.formats.hermes import CALL_CLOSE, CALL_OPEN
from search_r1.parsers.formats.scanner import BrokenCall, Item, Scanner, partial_of
from search_r1.parsers.formats.scanning import ScanningParser
from search_r1.parsers.results import RESPONSE_CLOSE, RESPONSE_OPEN, write_tool_responses
from search_r1.types import ToolCall

_FUNCTION, _FUNCTION_CLOSE = "<function=", "</function>"
_PARAMETER, _PARAMETER_CLOSE = "<parameter=", "</parameter>"
_OPENINGS = (CALL_OPEN, CALL_CLOSE, _FUNCTION, _FUNCTION_CLOSE)
_FUNCTION_TAG = re.compile(r"<function=([^<>\n]++)>\s*+")
_PARAMETER_TAG = re.compile(r"\s*+<parameter=([^<>\n]++)>")
_PARAMETER_END = re.compile(r"</parameter\s*+>|(?=<parameter=)")  # models forget to close one
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
    "string": (str,),
}
_FUNCTION_SYNTAX = (
    f"{_FUNCTION}name>\n{_PARAMETER}key>\nvalue\n{_PARAMETER_CLOSE}\n{_FUNCTION_CLOSE}"
)


class Qwen3XmlParser(ScanningParser):
    """Calls as XML-like tags with plain text values.

    Args:
        tokenizer: Not needed.
        tools: Their schemas give the types of the arguments; without one, a value stays text.
        is_single_call: Stop at the first ``</tool_call>``, for models that do not end their turns.
    """

    opener = re.compile("|".join(map(re.escape, _OPENINGS)))
    partial_opener = re.compile(rf"(?:{partial_of(*_OPENINGS)})\Z")
    opener_chars = max(map(len, _OPENINGS))
    forbidden = (RESPONSE_OPEN,)
    markers = (*_OPENINGS, _PARAMETER, _PARAMETER_CLOSE, RESPONSE_OPEN, RESPONSE_CLOSE)
    syntax = f"{CALL_OPEN}\n{_FUNCTION_SYNTAX}\n{CALL_CLOSE}"

    def __init__(
        self,
        tokenizer: Any = None,
        tools: Sequence[ToolSchema] = (),
        *,
        is_single_call: bool = False,
    ) -> None:
        super().__init__(tokenizer, tools)
        self.stop = (CALL_CLOSE,) if is_single_call else ()

    def body(self, opening: str) -> Body:
        """See the base class. A stray closing tag is a body of its own."""
        return UntilTag({CALL_OPEN: CALL_CLOSE, _FUNCTION: _FUNCTION_CLOSE}.get(opening, opening))

    def read(self, raw: str, turn: Scanner) -> Iterable[Item]:
        """See the base class."""
        if raw == CALL_CLOSE and turn.is_after_call:
            return  # the call before it was written without its <tool_call>
        if raw in (CALL_CLOSE, _FUNCTION_CLOSE):
            raise CallError(f"{raw} closes a call that was never opened")
        *functions, rest = raw.removesuffix(CALL_CLOSE).split(_FUNCTION_CLOSE)
        for function in functions:
            try:
                # Each with the opening tag; the closing one is missing where there are several.
                yield _read_function(function.strip().removeprefix(CALL_OPEN).strip(), turn.tools)
            except CallError as error:
                yield BrokenCall(str(error))
        rest = rest.strip().removeprefix(CALL_OPEN).strip()
        if rest or not functions:
            yield BrokenCall(_explain_rest(rest))

    def unclosed(self, raw: str) -> tuple[int, str]:
        """See the base class."""
        is_wrapped = raw.startswith(CALL_OPEN)
        opened, close = (CALL_OPEN, CALL_CLOSE) if is_wrapped else (_FUNCTION, _FUNCTION_CLOSE)
        return 0, f"{opened} was not closed by {close}"

    def write_results(self, texts: Sequence[str]) -> str:
        """Write each text between its own tags, as for hermes calls."""
        return write_tool_responses(texts)


def _read_function(written: str, tools: Sequence[ToolSchema]) -> ToolCall:
    """Read one call, its closing tag already taken off."""
    opening = _FUNCTION_TAG.match(written)
    if opening is None:
        raise CallError(f"a call must begin with {_FUNCTION}name>, not {quote(written)}")
    name = opening[1].strip()
    schemas = _parameter_schemas(name, tools)
    arguments, position = {}, opening.end()
    while position < len(written):
        parameter = _PARAMETER_TAG.match(written, position)
        if parameter is None:
            found = quote(written[position : position + 80].strip())
            raise CallError(
                f"in the call of {quote(name)}, {_PARAMETER}key> was expected, not {found}"
            )
        key = parameter[1].strip()
        end = _PARAMETER_END.search(written, parameter.end())
        if end is None:
            raise CallError(f"{_PARAMETER}{key}> was not closed by {_PARAMETER_CLOSE}")
        value = written[parameter.end() : end.start()]
        arguments[key] = _read_value(_trim(value), schemas.get(key))
        position = end.end()
    return make_call(name, arguments)


def _explain_rest(rest: str) -> str:
    if not rest:
        return f"there is nothing between {CALL_OPEN} and {CALL_CLOSE}"
    if rest.startswith(_FUNCTION):
        return f"{_FUNCTION} was not closed by {_FUNCTION_CLOSE}"
    return f"between {CALL_OPEN} and {CALL_CLOSE}, {_FUNCTION}name> was expected, not {quote(rest)}"


def _trim(value: str) -> str:
    """Take off the line breaks that the template writes around a value."""
    return value.removeprefix("\n").removesuffix("\n")


def _parameter_schemas(name: str, tools: Sequence[ToolSchema]) -> Mapping[str, Any]:
    """Give the schema of each argument of a tool; nothing for an unknown tool."""
    for tool in tools:
        function = tool.get("function", tool)  # the Responses API writes it flat
        if isinstance(function, Mapping) and function.get("name") == name:
            parameters = function.get("parameters")
            properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
            return properties if isinstance(properties, Mapping) else {}
    return {}


def _read_value(text: str, schema: Any) -> Any:
    """Read a value as the JSON its schema asks for; as text where that is allowed or all it is."""
    kinds = _kinds(schema)
    if kinds <= {"string"}:
        return text
    word = text.strip().lower()
    try:
        value = json.loads(word if word in ("true", "false", "null") else text)
    except (ValueError, RecursionError):
        return text
    is_expected = any(isinstance(value, _PYTHON_TYPES.get(kind, ())) for kind in kinds - {"string"})
    return text if "string" in kinds and not is_expected else value


def _kinds(schema: Any) -> set[str]:
    """Collect the JSON types a schema allows; empty when it does not say."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    kinds = {kind for kind in _as_list(named) or [named] if isinstance(kind, str)}
    for key in ("anyOf", "oneOf", "allOf"):
        kinds.update(*(_kinds(choice) for choice in _as_list(schema.get(key))))
    for value in _as_list(schema.get("enum")):
        kinds.update(kind for kind, types in _PYTHON_TYPES.items() if isinstance(value, types))
    return kinds


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
