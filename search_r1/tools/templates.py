"""Templates of HTTP tools, ``{argument}`` and ``${VARIABLE}``, and paths into JSON replies."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}|\{(\w+)\}")

ABSENT = object()
"""What a value becomes that consists of an argument the model left out."""


@dataclass(frozen=True, slots=True)
class Argument:
    """The place of one argument in a template."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A string with places for arguments; its environment variables are filled in already.

    Attributes:
        parts: Text and places, in order.
        secrets: Values of environment variables, which no message may show.
    """

    parts: tuple[str | Argument, ...]
    secrets: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments it takes."""
        return [part.name for part in self.parts if isinstance(part, Argument)]

    @property
    def lone_argument(self) -> str | None:
        """The argument it consists of, if it is nothing else."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only.name if isinstance(only, Argument) else None

    def fill(self, arguments: Mapping[str, Any], escape: Callable[[str], str] = str) -> str:
        """Put the arguments in, each as text passed through ``escape``."""
        return "".join(
            escape(to_text(arguments[part.name])) if isinstance(part, Argument) else part
            for part in self.parts
        )


def parse_template(text: str, place: str) -> Template:
    """Read a template. Single braces around anything but a word are plain text.

    Args:
        text: With ``{argument}`` and ``${VARIABLE}`` in it.
        place: Where it stands, for errors.

    Raises:
        ValueError: If an environment variable is not set.
    """
    parts: list[str | Argument] = []
    secrets = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        variable, argument = match.groups()
        parts.append(text[end : match.start()])
        end = match.end()
        if argument is not None:
            parts.append(Argument(argument))
            continue
        if variable not in os.environ:
            raise ValueError(
                f"{place} needs the environment variable {variable}, which is not set; export it "
                "before the start, for every process that runs tools."
            )
        parts.append(os.environ[variable])
        secrets.append(os.environ[variable])
    parts.append(text[end:])
    return Template(tuple(part for part in parts if part != ""), tuple(filter(None, secrets)))


def fill_variables(text: str, place: str) -> str:
    """Put the environment variables into a string in which no argument may stand.

    Raises:
        ValueError: If a variable is not set, or there is an argument.
    """
    template = parse_template(text, place)
    if template.arguments:
        raise ValueError(f"{place} is {text!r}; only ${{VARIABLE}} can stand there.")
    return template.fill({})


def parse_tree(tree: Any, place: str) -> Any:
    """Make every string of a JSON value a template; keys stay as they are."""
    if isinstance(tree, str):
        return parse_template(tree, place)
    if isinstance(tree, Mapping):
        return {key: parse_tree(value, f"{place}.{key}") for key, value in tree.items()}
    if isinstance(tree, list):
        return [parse_tree(value, f"{place}[{i}]") for i, value in enumerate(tree)]
    return tree


def templates_of(tree: Any) -> list[Template]:
    """List the templates of a parsed JSON value."""
    if isinstance(tree, Template):
        return [tree]
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    return (
        [found for part in tree for found in templates_of(part)] if isinstance(tree, list) else []
    )


def fill_tree(tree: Any, arguments: Mapping[str, Any]) -> Any:
    """Put the arguments into a parsed JSON value.

    A template that is one argument becomes its value with its type; where that was left out, the
    entry is left out as well.
    """
    if isinstance(tree, Template):
        lone = tree.lone_argument
        return tree.fill(arguments) if lone is None else arguments.get(lone, ABSENT)
    if isinstance(tree, Mapping):
        filled = {key: fill_tree(value, arguments) for key, value in tree.items()}
        return {key: value for key, value in filled.items() if value is not ABSENT}
    if isinstance(tree, list):
        values = [fill_tree(value, arguments) for value in tree]
        return [value for value in values if value is not ABSENT]
    return tree


def to_text(value: Any) -> str:
    """Write a JSON value into text: strings as they are, ``true`` and ``null`` as in JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def find_path(value: Any, path: str) -> Any:
    """Follow a path into a JSON value: ``results.0.title``; ``*`` goes into every item of a list.

    Raises:
        LookupError: If there is nothing at the path; the message says how far it leads.
    """
    return _follow(value, path.split("."), path)


def _follow(value: Any, steps: list[str], path: str) -> Any:
    if not steps:
        return value
    step, *rest = steps
    if isinstance(value, list):
        if step == "*":
            return [_follow(item, rest, path) for item in value]
        if step.isdecimal() and int(step) < len(value):
            return _follow(value[int(step)], rest, path)
    elif isinstance(value, dict) and step in value:
        return _follow(value[step], rest, path)
    raise LookupError(f"there is nothing at {step!r} of the path {path!r}")
