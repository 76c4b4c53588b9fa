"""Import Python files of the user's, named by a path."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType


def module_name_of(file: Path) -> str:
    """Name the module of a file by its path, so that it shadows no other module."""
    return f"search_r1_file_{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}"


def import_python_file(file: Path) -> ModuleType:
    """Run an existing .py file as a module, anew if that was done before.

    Raises:
        ValueError: If it raises while it is imported.
    """
    name = module_name_of(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations, and what vLLM registers, are found by way of it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(
            f"{file} does not import: line {_line_of(error, file)}: {type(error).__name__}: "
            f"{error}. Correct the file."
        ) from error
    return module


def _line_of(error: Exception, file: Path) -> int | None:
    """Give the last line of a file that an error came by."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(file)), None)
