"""Import Python files of the user's, named by a path."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
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
            f"{file} does not import: {type(error).__name__}: {error}. Run python {file} to see "
            "where."
        ) from error
    return module
