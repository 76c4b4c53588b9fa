"""Import parser files that are named by a path."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from search_r1.parsers.engines.vllm_old_paths import old_import_paths
from search_r1.python_files import import_python_file


def import_file(path: str) -> ModuleType:
    """Import a Python file that may import from where vLLM's parsers used to be.

    Raises:
        ValueError: If it is no Python file, or raises while it is imported.
    """
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py" or not file.is_file():
        raise ValueError(
            f"the tool parser plugin {path!r} is not a Python file; give the path of an existing "
            ".py file."
        )
    with old_import_paths():
        return import_python_file(file)


def lazy_vllm_parsers() -> dict[str, tuple[str, str]]:
    """Give vLLM's lazy registrations: name to module and class; none before vLLM is imported."""
    vllm_parsers = sys.modules.get("vllm.tool_parsers")
    return {} if vllm_parsers is None else dict(vllm_parsers.ToolParserManager.lazy_parsers)


def vllm_parsers_of(module: ModuleType, before: dict[str, tuple[str, str]]) -> list[str]:
    """Give the names under which a module registered its own classes with vLLM, sorted.

    A lazy registration is resolved here: it may name any module, as vLLM's documentation does, but
    the class is the file's.

    Args:
        module: Just imported.
        before: The lazy registrations before that.
    """
    vllm_parsers = sys.modules.get("vllm.tool_parsers")
    if vllm_parsers is None:
        return []
    registry = vllm_parsers.ToolParserManager
    for name, registration in registry.lazy_parsers.items():
        parser_class = vars(module).get(registration[1])
        is_own = getattr(parser_class, "__module__", None) == module.__name__
        if is_own and registration is not before.get(name):
            registry.register_module(name, module=parser_class)
    return sorted(
        name
        for name, parser_class in registry.tool_parsers.items()
        if parser_class.__module__ == module.__name__
    )
