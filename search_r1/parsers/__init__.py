"""Tool parsers by name: ``get_tool_parser("search_tags")``, ``@register_tool_parser("mine")``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TypeVar

from search_r1.parsers.base import ExtractedToolCalls, ParseStatus, ToolParser

__all__ = [
    "ExtractedToolCalls",
    "ParseStatus",
    "ToolParser",
    "get_tool_parser",
    "register_tool_parser",
    "tool_parser_names",
]

_ParserT = TypeVar("_ParserT", bound=type[ToolParser])

_parsers: dict[str, type[ToolParser]] = {}
_builtin_modules = {"search_tags": "search_r1.parsers.search_tags"}


def register_tool_parser(name: str) -> Callable[[_ParserT], _ParserT]:
    """Register a parser class under a name; the later registration of a name wins."""

    def decorate(parser_class: _ParserT) -> _ParserT:
        _parsers[name] = parser_class
        return parser_class

    return decorate


def tool_parser_names() -> list[str]:
    """List every name :func:`get_tool_parser` knows, sorted."""
    return sorted(_parsers.keys() | _builtin_modules.keys())


def get_tool_parser(name: str) -> type[ToolParser]:
    """Look a parser class up by name.

    Raises:
        ValueError: If no parser has this name; the message lists those that exist.
    """
    if name not in _parsers and name in _builtin_modules:
        importlib.import_module(_builtin_modules[name])
    if name not in _parsers:
        raise ValueError(
            f"unknown tool parser {name!r}; known are {', '.join(tool_parser_names())}. "
            "Register your own with @register_tool_parser."
        )
    return _parsers[name]
