"""Turn what a model wrote into a checked call, or say what is wrong in words it can act on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from search_r1.answers import ANSWER_CLOSE, ANSWER_OPEN
from search_r1.types import ToolCall

HOW_TO_ANSWER = f"To answer, write {ANSWER_OPEN}answer{ANSWER_CLOSE}."
"""Ends what a model is told of a turn that was neither a call nor an answer."""

_MAX_NESTING = 50  # deeper arguments overflow the stack of whoever copies or validates them
_SNIPPET_CHARS = 24


class CallError(ValueError):
    """A call that cannot be understood; the message is told to the model."""


def read_json(text: str, what: str) -> Any:
    """Parse JSON as a model wrote it.

    Args:
        text: The JSON.
        what: What the text is, to begin the error with: ``"the call"``.

    Raises:
        CallError: If it is not JSON; the message quotes the place.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        near = quote(text[max(0, error.pos - 8) :])
        raise CallError(f"{what} is not valid JSON: {error.msg} near {near}") from error
    except RecursionError as error:
        raise CallError(f"{what} is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise CallError(f"{what} holds a number that is too long") from error


def read_call(written: Any, argument_keys: Sequence[str] = ("arguments",)) -> ToolCall:
    """Take a call out of ``{"name": ..., "arguments": {...}}``.

    Args:
        written: The parsed JSON, of any type.
        argument_keys: Keys the arguments may stand under; exactly one must be there.

    Raises:
        CallError: If it has another shape.
    """
    expected = f'{{"name": ..., "{argument_keys[0]}": {{...}}}}'
    if not isinstance(written, dict):
        raise CallError(f"a call must be a JSON object like {expected}, not {kind_of(written)}")
    if "name" not in written:
        raise CallError(f'the call has no "name"; write {expected}')
    found = [key for key in argument_keys if key in written]
    if not found:
        raise CallError(f'the call has no "{argument_keys[0]}"; write {expected}')
    if len(found) > 1:
        raise CallError(f'the call has both "{found[0]}" and "{found[1]}"; write one of them')
    return make_call(written["name"], written[found[0]])


def make_call(name: Any, arguments: Any) -> ToolCall:
    """Check a name and arguments, and make the call.

    Raises:
        CallError: If the name is no text, or the arguments are no object that can be sent as JSON.
    """
    if not isinstance(name, str) or not name.strip():
        raise CallError(f"the tool's name must be text, not {kind_of(name)}")
    if not isinstance(arguments, dict):
        raise CallError(
            f"the arguments of {quote(name)} must be a JSON object, not {kind_of(arguments)}"
        )
    if _nesting(arguments) > _MAX_NESTING:
        raise CallError(f"the arguments of {quote(name)} are nested too deeply")
    try:
        (name + dump_arguments(arguments)).encode()
    except UnicodeEncodeError as error:
        raise CallError(f"the call of {quote(name)} holds half of a \\u pair") from error
    except ValueError as error:
        raise CallError(f"an argument of {quote(name)} is not a finite number") from error
    return ToolCall(name, arguments)


def dump_arguments(arguments: dict[str, Any]) -> str:
    """Write arguments as the JSON that goes to a client."""
    return json.dumps(arguments, ensure_ascii=False, allow_nan=False)


def quote(text: str) -> str:
    """Quote the beginning of what a model wrote; an error is one line, not a turn."""
    cut = text if len(text) <= _SNIPPET_CHARS else text[:_SNIPPET_CHARS] + "..."
    return repr(cut)


def kind_of(value: Any) -> str:
    """Name a JSON type in words: ``"a list"``."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if isinstance(value, str) and not value.strip():
        return "empty text"
    return names.get(type(value), "a number")


def _nesting(value: Any) -> int:
    """Count how deep lists and objects are nested, without recursion."""
    depth, level = 0, [value]
    while level and depth <= _MAX_NESTING:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1
    return depth
