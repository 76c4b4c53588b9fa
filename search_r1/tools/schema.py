"""Tool schemas: checked when a tool is made; the arguments of every call checked against them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI's API allows
_MAX_MISTAKES = 3  # told per call; more would only bury the first
_MAX_VALUE_CHARS = 80


def make_schema(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Put an OpenAI function schema together and check it.

    Raises:
        ValueError: As :func:`check_schema`.
    """
    schema = {"name": name, "description": description, "parameters": dict(parameters)}
    check_schema(schema)
    return schema


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check that an OpenAI function schema is one a model can be given.

    Raises:
        ValueError: If the name, the description or the JSON schema of the parameters is none.
    """
    name, parameters = schema.get("name"), schema.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"a tool's name is {name!r}; expected 1 to 64 letters, digits, underscores and "
            "hyphens. Rename it."
        )
    if not isinstance(schema.get("description"), str) or not schema["description"].strip():
        raise ValueError(
            f"tool {name!r} has no description; say in a line what it does, in its docstring or "
            "as `description`."
        )
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        raise ValueError(
            f"the parameters of tool {name!r} are {_show(parameters)}; expected a JSON schema of "
            'an object: {"type": "object", "properties": {...}}.'
        )
    make_validator(name, parameters)


def make_validator(name: str, parameters: Mapping[str, Any]) -> Validator:
    """Compile the JSON schema of a tool's parameters, Draft 2020-12 unless it names another.

    Args:
        name: The tool, for errors.
        parameters: The JSON schema.

    Raises:
        ValueError: If it is no JSON schema, or refers to something outside itself.
    """
    kind = validator_for(parameters, default=Draft202012Validator)
    try:
        kind.check_schema(dict(parameters))
        json.dumps(parameters)
    except SchemaError as error:
        raise ValueError(
            f"the parameters of tool {name!r} are no JSON schema: {_place(error)}: "
            f"{_shorten(error.message)}. Correct it there; json-schema.org explains the keywords."
        ) from error
    except TypeError as error:
        raise ValueError(
            f"the parameters of tool {name!r} cannot be written as JSON ({error}); use strings, "
            "numbers, booleans, lists and mappings only."
        ) from error
    # An empty registry: a schema must not make the validator fetch another from the network.
    validator: Validator = kind(parameters, registry=Registry())
    _check_references(name, parameters)
    return validator


def find_mistakes(validator: Validator, arguments: Any) -> list[str]:
    """Say what is wrong with the arguments of a call, at most three things.

    Returns:
        One sentence per mistake, for the model; empty when there is none.
    """
    try:
        errors = sorted(
            validator.iter_errors(arguments), key=lambda error: list(map(str, error.path))
        )
        # Each missing argument is an error of its own that names them all.
        mistakes = list(dict.fromkeys(mistake for error in errors for mistake in _describe(error)))
    except RecursionError:
        return ["the arguments are nested too deeply"]
    except (ArithmeticError, ValueError):  # in a division, or when jsonschema writes it out
        return ["a number is too large"]
    left_out = len(mistakes) - _MAX_MISTAKES
    more = [f"and {left_out} more mistakes"] if left_out > 0 else []
    return mistakes[:_MAX_MISTAKES] + more


def describe_parameters(parameters: Mapping[str, Any]) -> str:
    """List the parameters of a tool in a line: ``query (string, required), top_k (integer)``."""
    properties = parameters.get("properties", {})
    required = parameters.get("required", ())
    listed = [
        f"{name} ({_kind(schema)}{', required' if name in required else ''})"
        for name, schema in properties.items()
    ]
    return ", ".join(listed) or "none"


def _describe(error: ValidationError) -> Iterator[str]:
    """Put one violation into words: which argument, what was given, what is expected."""
    keyword, expected = error.validator, cast(Any, error.validator_value)
    given = cast(Any, error.instance)
    schema = cast(Mapping[str, Any], error.schema)
    where = _argument(error)
    if keyword == "required":
        inside = f" in {where}" if error.path else ""
        for name in expected:
            if name not in given:
                kind = _kind(schema.get("properties", {}).get(name, True))
                yield f"argument {_show(name)} is missing{inside}; expected {kind}"
    elif keyword == "additionalProperties" and expected is False:
        known = schema.get("properties", {})
        inside = f" in {where}" if error.path else ""
        names = ", ".join(known) or "none"
        for name in given:
            if name not in known:
                yield f"there is no argument {_show(name)}{inside}; expected {names}"
    elif keyword == "type":
        yield f"{where} is {_show(given)}; expected {_kind({'type': expected})}"
    elif keyword in ("enum", "const"):
        options = expected if keyword == "enum" else [expected]
        yield f"{where} is {_show(given)}; expected {' or '.join(map(_show, options))}"
    elif keyword in ("anyOf", "oneOf"):
        yield f"{where} is {_show(given)}; expected {_kind(schema)}"
    else:
        yield f"{where} is {_show(given)}; expected {keyword} {_show(expected)}"


def _kind(schema: Any) -> str:
    """Name what a schema accepts in a few words."""
    if not isinstance(schema, Mapping):
        return "any value"
    if "enum" in schema:
        return " or ".join(map(_show, schema["enum"]))
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        return " or ".join(kinds)
    parts = schema.get("anyOf") or schema.get("oneOf") or ()
    return " or ".join(dict.fromkeys(_kind(part) for part in parts)) or "a value as described"


def _argument(error: ValidationError) -> str:
    """Name the place in the arguments: ``argument "dates[0].year"``."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    return f"argument {_show(path.removeprefix('.'))}" if path else "the list of arguments"


def _place(error: SchemaError) -> str:
    return "/".join(map(str, error.absolute_path)) or "at the top"


def _show(value: Any) -> str:
    """Write a value as JSON, shortened: it may be all a model could write."""
    if isinstance(value, str):
        value = _shorten(value)
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (RecursionError, ValueError, TypeError):
        text = repr(type(value))
    return _shorten(text)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}..."


def _check_references(name: str, parameters: Mapping[str, Any]) -> None:
    """Resolve every ``$ref`` now: the validator would meet a broken one in the middle of a run."""
    resource = DRAFT202012.create_resource(parameters)
    base = resource.id() or ""
    resolver = Registry().with_resource(base, resource).resolver(base)
    for reference in _references(parameters):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(
                f"the parameters of tool {name!r} refer to {reference!r}, which they do not hold; "
                "write that schema in their $defs, nothing is fetched."
            ) from error


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = schema.values()
    elif not isinstance(schema, list):
        return
    for part in schema:
        yield from _references(part)
