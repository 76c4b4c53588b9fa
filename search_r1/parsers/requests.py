"""Read and change a serving request, be it an object with attributes or a plain dictionary."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from search_r1.parsers.base import ToolSchema


def tools_of(request: Any, default: Sequence[ToolSchema]) -> list[ToolSchema]:
    """Give the request's tools as plain dictionaries; the default when it brings none."""
    tools = _get(request, "tools") if request is not None else None
    return [_as_mapping(tool) for tool in tools or default]


def adjust_for_tools(request: Any, stop: Sequence[str], *, has_special_markers: bool) -> Any:
    """Set what a format needs of generation, when the request has tools that may be called.

    Args:
        request: Changed in place.
        stop: Strings that end a call and so the turn; they stay in the output, to be parsed.
        has_special_markers: True when the markers would be lost with the special tokens.

    Returns:
        The same request.
    """
    if not _get(request, "tools") or _get(request, "tool_choice") == "none":
        return request
    if has_special_markers:
        _set(request, "skip_special_tokens", False)
    if stop:
        asked = _get(request, "stop") or []
        asked = [asked] if isinstance(asked, str) else list(asked)
        _set(request, "stop", asked + [text for text in stop if text not in asked])
        _set(request, "include_stop_str_in_output", True)
    return request


def _get(request: Any, name: str) -> Any:
    return request.get(name) if isinstance(request, Mapping) else getattr(request, name, None)


def _set(request: Any, name: str, value: Any) -> None:
    if isinstance(request, MutableMapping):
        request[name] = value
    else:
        setattr(request, name, value)


def _as_mapping(tool: Any) -> ToolSchema:
    plain: ToolSchema = tool if isinstance(tool, Mapping) else tool.model_dump()
    return plain
