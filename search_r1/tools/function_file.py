"""Python files with tool functions: imported once per process, their functions called by name."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from search_r1.tools.base import ToolError, ToolResult
from search_r1.tools.signatures import FunctionArguments


def load_function(file: str | Path, name: str) -> Callable[..., Any]:
    """Import a file and give one of its functions.

    Raises:
        ValueError: If the file is missing or does not import, or has no such function.
    """
    path = Path(file).resolve()
    module = _import_file(path)
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


def _import_file(path: Path) -> ModuleType:
    """Import a file under a name made of its path, so that every tool of it shares one module."""
    name = f"search_r1_tools_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"there is no Python file {path}; `file` names a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are resolved by way of it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(
            f"{path} does not import: {type(error).__name__}: {error}. Run python {path} to see "
            "where."
        ) from error
    return module
