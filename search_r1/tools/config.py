"""The ``tools`` section of a config: every entry is read and checked before any tool is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from search_r1.tools.base import Tool, ToolLimits
from search_r1.tools.http.request import HttpRequest
from search_r1.tools.http.tool import HttpTool
from search_r1.tools.mcp.address import McpAddress
from search_r1.tools.python.tool import PythonFunctionTool
from search_r1.tools.search import DESCRIPTION, Searcher, SearchTool
from search_r1.tools.threads import start_thread
from search_r1.tools.toolbox import ToolBox


@dataclass(frozen=True, slots=True)
class SearchSection:
    """``type: search``, the retriever of the run."""

    top_k: int = 3
    """Passages per search."""
    description: str = DESCRIPTION
    """What the model is told of it."""


@dataclass(frozen=True, slots=True)
class PythonFunctionSection:
    """``type: python_function``; :class:`PythonFunctionTool` explains the fields."""

    file: str
    """Python file; relative to the working directory."""
    function: str
    """Name of the function."""
    processes: int | None = None
    """Worker processes; 0: threads. null: 4, or the event loop for an ``async`` function."""
    description: str | None = None
    """What the model is told of it; null: the docstring."""
    parameters: dict[str, Any] | None = None
    """JSON schema of the arguments; null: from the annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSection(HttpRequest):
    """``type: http``."""

    description: str
    """What the model is told of it."""
    parameters: dict[str, Any]
    """JSON schema of the arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpSection(McpAddress):
    """``type: mcp``: each tool of the server becomes one of ours."""

    tools: tuple[str, ...] | None = None
    """Names of the server's tools to offer; null: all."""
    rename: dict[str, str] = field(default_factory=dict)
    """The server's name of a tool to what the model calls it."""


def build_toolbox(config: Mapping[str, Any], searcher: Searcher | None = None) -> ToolBox:
    """Make the tools a config describes.

    Args:
        config: ``{"tools": {NAME: {"type": TYPE, ...}}}`` of plain dicts and lists. Beside what
            belongs to its type, each entry may hold the fields of :class:`ToolLimits`.
        searcher: What ``type: search`` asks.

    Raises:
        ValueError: If a type or key is unknown, or a value is wrong; the message says where.
        ToolFailedError: If an MCP server cannot be reached.
    """
    _check_keys("the config of the tools", config, {"tools"})
    sections = config.get("tools") or {}
    if not isinstance(sections, Mapping):
        raise ValueError(f"tools is {sections!r}; expected a mapping of names to tools.")
    entries = [_read_entry(str(name), entry) for name, entry in sections.items()]
    tools: list[Tool] = []
    try:
        for name, section, limits in entries:
            tools += _BUILDERS[type(section)](name, section, limits, searcher)
        return ToolBox(tools)
    except BaseException:
        for tool in tools:
            start_thread(lambda tool=tool: asyncio.run(tool.aclose()), tool.name)[1].result()  # type: ignore[misc]
        raise


def _read_entry(name: str, entry: Any) -> tuple[str, Any, ToolLimits]:
    place = f"tools.{name}"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{place} is {entry!r}; expected a mapping with a type.")
    kind = entry.get("type")
    if kind not in _SECTIONS:
        raise ValueError(f"{place}.type is {kind!r}; known are {', '.join(sorted(_SECTIONS))}.")
    section_type = _SECTIONS[kind]
    own = {one.name for one in fields(section_type)}
    limit_names = {one.name for one in fields(ToolLimits)}
    _check_keys(place, entry, {"type", *own, *limit_names})
    section = _read(place, section_type, {k: v for k, v in entry.items() if k in own})
    limits = _read(place, ToolLimits, {k: v for k, v in entry.items() if k in limit_names})
    return name, section, limits


def _check_keys(place: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(map(str, given.keys() - set(known)))
    if unknown:
        raise ValueError(
            f"{place} has the unknown key {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}."
        )


def _read(place: str, kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Make a dataclass of plain values, its types checked."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(place, one) for one in error.errors())) from error


def _explain(place: str, error: Mapping[str, Any]) -> str:
    where = ".".join([place, *map(str, error["loc"])])
    if error["type"] == "missing":
        return f"{where} is missing; it must be given."
    if error["type"] == "value_error":  # from a __post_init__, which says it all
        return f"{where}: {error['ctx']['error']}"
    return f"{where} is {error['input']!r}: {error['msg']}."


def _build_search(
    name: str, section: SearchSection, limits: ToolLimits, searcher: Searcher | None
) -> Sequence[Tool]:
    if searcher is None:
        raise ValueError(
            f"tools.{name} has the type search, but there is no retriever; name the retrieval "
            "server of the run, or leave the tool out."
        )
    return [
        SearchTool(searcher, section.top_k, name, description=section.description, limits=limits)
    ]


def _build_function(
    name: str, section: PythonFunctionSection, limits: ToolLimits, _searcher: Searcher | None
) -> Sequence[Tool]:
    tool = PythonFunctionTool(
        section.file,
        section.function,
        name,
        processes=section.processes,
        description=section.description,
        parameters=section.parameters,
        limits=limits,
    )
    return [tool]


def _build_http(
    name: str, section: HttpSection, limits: ToolLimits, _searcher: Searcher | None
) -> Sequence[Tool]:
    return [HttpTool(name, section.description, section.parameters, section, limits)]


def _build_mcp(
    name: str, section: McpSection, limits: ToolLimits, _searcher: Searcher | None
) -> Sequence[Tool]:
    # Here, because the client takes a second to import and most runs have no MCP server.
    try:
        from search_r1.tools.mcp.tool import open_tools
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tools.{name} has the type mcp, but {error.name} is not installed; pip install mcp."
        ) from error
    return open_tools(name, section, section.tools, section.rename, limits)


_SECTIONS: dict[str, type[Any]] = {
    "search": SearchSection,
    "python_function": PythonFunctionSection,
    "http": HttpSection,
    "mcp": McpSection,
}
_BUILDERS: dict[type[Any], Callable[..., Sequence[Tool]]] = {
    SearchSection: _build_search,
    PythonFunctionSection: _build_function,
    HttpSection: _build_http,
    McpSection: _build_mcp,
}
