"""Import parser files that are named by a path."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from search_r1.parsers.vllm_old_paths import old_import_paths


def import_file(path: str) -> ModuleType:
    """Import a Python file under a name of its own, so that it shadows no module.

    Raises:
        ValueError: If it is no Python file, or raises while it is imported.
    """
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py" or not file.is_file():
        raise ValueError(
            f"the tool parser plugin {path!r} is not a Python file; give the path of an existing "
            ".py file."
        )
    name = f"search_r1_plugin_{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"the tool parser plugin {path!r} cannot be imported by Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # vLLM imports a registered parser again by its module's name
    try:
        with old_import_paths():
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(
            f"the tool parser plugin {path!r} does not import: {type(error).__name__}: {error}. "
            "Run it with python to see where."
        ) from error
    return module


def vllm_parsers_of(module: ModuleType) -> list[str]:
    """Give the names under which a module registered parsers with vLLM's own decorator."""
    vllm_parsers = sys.modules.get("vllm.tool_parsers")
    if vllm_parsers is None:
        return []
    registry = vllm_parsers.ToolParserManager
    lazy = {name for name, (home, _) in registry.lazy_parsers.items() if home == module.__name__}
    eager = {
        name
        for name, parser_class in registry.tool_parsers.items()
        if parser_class.__module__ == module.__name__
    }
    return sorted(lazy | eager)
