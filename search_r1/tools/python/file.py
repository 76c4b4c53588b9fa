"""Python files with tool functions: imported once per process, their functions called by name."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from search_r1.errors import ToolError
from search_r1.python_files import import_python_file, module_name_of
from search_r1.tools.base import ToolResult
from search_r1.tools.python.signatures import FunctionArguments


def load_function(file: str | Path, name: str) -> Callable[..., Any]:
    """Import a file and give one of its functions.

    Raises:
        ValueError: If the file is missing or does not import, or has no such function.
    """
    path = Path(file).resolve()
    module = _import_once(path)
    function = getattr(module, name, None)
    if not callable(function):
        named = sorted(
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        )
        raise ValueError(
            f"{path} has no function {name!r}; it has {', '.join(named) or 'none'}. Correct "
            "`function`, or define it."
        )
    return function  # type: ignore[no-any-return]


def bind(arguments_of: FunctionArguments | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keyword arguments of a call.

    Args:
        arguments_of: What the function takes; None passes the JSON values as they are.
        arguments: Checked against the JSON schema.

    Raises:
        ToolError: If a value breaks a rule of its type that a JSON schema cannot state.
    """
    if arguments_of is None:
        return dict(arguments)
    try:
        return arguments_of.convert(arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ToolError(f"Argument {place!r} is wrong: {first['msg']}.") from error


def to_result(value: object) -> ToolResult:
    """Make what a function returned into what the model reads: text as it is, the rest as JSON."""
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, str):
        return ToolResult(value)
    return ToolResult(json.dumps(value, ensure_ascii=False, default=str))


def _import_once(path: Path) -> ModuleType:
    """Import a file, unless another tool of it did: they share one module."""
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"there is no Python file {path}; `file` names a .py file.")
    return sys.modules.get(module_name_of(path)) or import_python_file(path)
