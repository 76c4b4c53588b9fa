"""Tool parsers by name: ``get_tool_parser("hermes")``, ``@register_tool_parser("mine")``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TypeVar

from search_r1.parsers.base import (
    ExtractedToolCalls,
    ParseStatus,
    StreamDelta,
    ToolCallDelta,
    ToolParser,
)
from search_r1.parsers.calls import CallError, make_call, read_json
from search_r1.parsers.plugins import import_file, lazy_vllm_parsers, vllm_parsers_of

__all__ = [
    "CallError",
    "ExtractedToolCalls",
    "ParseStatus",
    "StreamDelta",
    "ToolCallDelta",
    "ToolParser",
    "get_tool_parser",
    "load_tool_parser_plugin",
    "make_call",
    "read_json",
    "register_lazy_tool_parser",
    "register_tool_parser",
    "tool_parser_names",
]

_ParserT = TypeVar("_ParserT", bound=type[ToolParser])

_parsers: dict[str, type[ToolParser]] = {}
_lazy_parsers: dict[str, tuple[str, str]] = {}  # name -> module and class
_registrations: list[str] = []  # every name registered, in order
_adapters = {
    "vllm": "search_r1.parsers.engines.vllm_adapter",
    "verl": "search_r1.parsers.engines.verl_adapter",
}


def register_tool_parser(name: str) -> Callable[[_ParserT], _ParserT]:
    """Register a parser class under a name; the later registration of a name wins."""

    def decorate(parser_class: _ParserT) -> _ParserT:
        if not (isinstance(parser_class, type) and issubclass(parser_class, ToolParser)):
            raise TypeError(
                f"{parser_class!r} was registered as tool parser {name!r}; register a subclass of "
                "search_r1.parsers.ToolParser."
            )
        _check_name(name)
        _registrations.append(name)
        _lazy_parsers.pop(name, None)
        _parsers[name] = parser_class
        return parser_class

    return decorate


def register_lazy_tool_parser(name: str, module: str, class_name: str) -> None:
    """Register a parser whose module is imported when its name is first asked for."""
    _check_name(name)
    _registrations.append(name)
    _parsers.pop(name, None)
    _lazy_parsers[name] = (module, class_name)


def tool_parser_names() -> list[str]:
    """List every registered name, sorted; engines' own parsers are beside these."""
    return sorted(_parsers.keys() | _lazy_parsers.keys())


def get_tool_parser(name: str) -> type[ToolParser]:
    """Look a parser class up by name.

    Args:
        name: A registered name, or an engine's own parser as ``vllm:NAME`` or ``verl:NAME``.

    Raises:
        ValueError: If no parser has this name; the message lists those that exist.
    """
    engine, colon, engine_name = name.partition(":")
    if colon and engine in _adapters:
        adapted: type[ToolParser] = importlib.import_module(_adapters[engine]).adapt(engine_name)
        return adapted
    if name in _lazy_parsers:
        _parsers[name] = _import_parser(name, *_lazy_parsers[name])
        _lazy_parsers.pop(name, None)
    if name not in _parsers:
        raise ValueError(
            f"unknown tool parser {name!r}; known are {', '.join(tool_parser_names())}, and "
            "vllm:NAME or verl:NAME for an engine's own. Register your own with "
            "@register_tool_parser, or load the file that does with load_tool_parser_plugin."
        )
    return _parsers[name]


def load_tool_parser_plugin(path: str) -> list[str]:
    """Import a Python file that registers parsers, ours or vLLM's.

    A file that registers a ``vllm.tool_parsers.ToolParser`` of its own with vLLM's manager is taken
    as it is: its names stand for the parser behind our adapter.

    Returns:
        The names the file registered, sorted.

    Raises:
        ValueError: If the file cannot be imported or registers nothing.
    """
    already = len(_registrations)
    before = lazy_vllm_parsers()
    module = import_file(path)
    for name in vllm_parsers_of(module, before):
        register_tool_parser(name)(get_tool_parser(f"vllm:{name}"))
    names = sorted(set(_registrations[already:]))
    if not names:
        raise ValueError(
            f"the tool parser plugin {path!r} registers no parser; decorate a ToolParser subclass "
            'in it with @register_tool_parser("NAME"), or register one of vLLM\'s with its '
            "ToolParserManager."
        )
    return names


def _import_parser(name: str, module: str, class_name: str) -> type[ToolParser]:
    parser_class = getattr(importlib.import_module(module), class_name, None)
    if not (isinstance(parser_class, type) and issubclass(parser_class, ToolParser)):
        raise ValueError(
            f"tool parser {name!r} was registered as {class_name} of {module}, which has no such "
            "ToolParser subclass; correct its register_lazy_tool_parser."
        )
    return parser_class


def _check_name(name: str) -> None:
    if not name or ":" in name:
        raise ValueError(
            f"tool parser name {name!r} is empty or holds a colon, which is kept for vllm:NAME and "
            "verl:NAME; choose another name."
        )


for _name, _module, _class_name in (
    ("hermes", "hermes", "HermesParser"),
    ("llama3_json", "llama3_json", "Llama3JsonParser"),
    ("mistral", "mistral", "MistralParser"),
    ("pythonic", "pythonic", "PythonicParser"),
    ("qwen3_coder", "qwen3_xml", "Qwen3XmlParser"),
    ("qwen3_xml", "qwen3_xml", "Qwen3XmlParser"),
    ("search_tags", "search_tags", "SearchTagsParser"),
    ("sentences", "sentences", "SentencesParser"),
):
    register_lazy_tool_parser(_name, f"search_r1.parsers.formats.{_module}", _class_name)
