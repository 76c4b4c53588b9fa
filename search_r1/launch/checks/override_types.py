"""Types of overrides: a value is of the kind that its key has by default, or in verl's class."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from search_r1.errors import UsageError

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text (a number in quotes: '\"3\"')",
    list: "a list",
    dict: "a mapping",
}


def check_types(config: Mapping[str, Any], preset: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Check what overrides have set; null is taken everywhere.

    Args:
        config: The composed config as plain containers.
        preset: The same without overrides.
        keys: Dotted keys of the overrides.

    Raises:
        UsageError: For the first value of another type.
    """
    for key in keys:
        *parents, name = key.split(".")
        section, default = _dig(config, parents), _dig(preset, parents)
        if isinstance(section, Mapping) and name in section:
            _check(key, section[name], default, name)


def _dig(node: Any, path: Iterable[str]) -> Any:
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _check(key: str, value: Any, parent: Any, name: str) -> None:
    default = parent.get(name) if isinstance(parent, Mapping) else None
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        for inner in value:
            _check(f"{key}.{inner}", value[inner], default, inner)
        return
    by_default = {type(default)} - {type(None)}
    if value is None or (by_default and _fits(value, by_default)):
        return
    allowed = _declared(parent, name) or by_default
    if not _fits(value, allowed):
        words = " or ".join(_WORDS[one] for one in _WORDS if one in allowed)
        example = "" if default is None else f" such as {default}"
        raise UsageError(
            f"{key}={value} is {_WORDS[type(value)].partition(' (')[0]}; expected {words}{example}."
        )


def _fits(value: Any, allowed: set[type]) -> bool:
    """Tell whether a value is of one of the types; of none when nothing says which."""
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return True
    if isinstance(value, str | list) and allowed & {str, list}:  # one file, or several
        return True
    return not allowed or type(value) in allowed


def _declared(parent: Any, name: str) -> set[type]:
    """Give the plain types that verl's class declares for a key; empty when it says none of them.

    verl's YAML writes some numbers as whole ones that may have a fraction.
    """
    target = parent.get("_target_") if isinstance(parent, Mapping) else None
    if not target:
        return set()
    from hydra.utils import get_class  # here: the class imports verl, which takes seconds

    hint = get_type_hints(get_class(target)).get(name)
    is_union = get_origin(hint) in (Union, types.UnionType)
    found = set(get_args(hint)) if is_union else {hint}
    plain: set[Any] = {get_origin(one) or one for one in found} - {type(None)}
    return plain if plain <= set(_WORDS) else set()
