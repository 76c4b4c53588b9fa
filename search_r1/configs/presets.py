"""Presets: what exists, and how one becomes a whole training config with Hydra."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from search_r1.errors import LaunchError, UsageError
from search_r1.runs.places import CONFIGS

DEFAULT = "quickstart"
_MAX_LISTED = 40


def list_presets() -> dict[str, str]:
    """Give every preset with its one-line description, the default first.

    A preset is a YAML file that builds on others (it has a ``defaults`` list); its description is
    its first comment.
    """
    presets = {}
    for path in sorted(CONFIGS.glob("*.yaml"), key=lambda path: (path.stem != DEFAULT, path.stem)):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^defaults:", text, re.MULTILINE):
            comment = re.search(r"^# *(?!@package)(.*)$", text, re.MULTILINE)
            presets[path.stem] = comment.group(1).strip() if comment else ""
    return presets


def require_preset(name: str) -> None:
    """Raise unless a preset of this name exists; the message lists those that do."""
    presets = list_presets()
    if name not in presets:
        guess = difflib.get_close_matches(name, presets, n=1)
        hint = f" Did you mean {guess[0]}?" if guess else ""
        raise UsageError(f"unknown preset {name!r}; there are: {', '.join(presets)}.{hint}")


def compose(preset: str, overrides: Sequence[str] = ()) -> Any:
    """Compose a preset on top of verl's own config, without importing verl.

    Args:
        preset: Name of a file in ``search_r1/configs``.
        overrides: Hydra overrides, applied in order.

    Returns:
        The config as an OmegaConf ``DictConfig``, interpolations not resolved yet.

    Raises:
        UsageError: For an unknown preset, or an override that cannot be read or names no key.
    """
    import hydra
    from hydra.errors import HydraException

    require_preset(preset)
    check_syntax(overrides)
    search_path = f"hydra.searchpath=[file://{_verl_config_dir()}]"
    try:
        with hydra.initialize_config_module("search_r1.configs", version_base=None):
            return hydra.compose(preset, overrides=[search_path, *overrides])
    except HydraException as error:
        raise UsageError(_explain(str(error), preset)) from error


def compose_from_verl(name: str) -> Any:
    """Compose one of verl's own configs, such as ``sft_trainer_engine``."""
    import hydra

    with hydra.initialize_config_dir(_verl_config_dir(), version_base=None):
        return hydra.compose(name)


def parse(override: str) -> tuple[str, Any]:
    """Split an override into its key and value.

    Raises:
        UsageError: If it does not follow Hydra's grammar.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        if not parsed.key_or_group:
            raise HydraException("there is no key")
    except HydraException as error:
        raise UsageError(
            f"cannot read the override {override!r}; expected KEY=VALUE, +KEY=VALUE (a new key) or "
            f"~KEY (remove one). The parser says: {str(error).splitlines()[-1]}."
        ) from error
    return parsed.key_or_group, parsed.value() if parsed.value_type else None


def check_syntax(overrides: Sequence[str]) -> None:
    """Raise for the first override that cannot be read."""
    for override in overrides:
        parse(override)


def _verl_config_dir() -> str:
    """Find verl's config folder without importing verl, which would import torch."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError("verl is not installed in this Python; run scripts/setup.sh.")
    return f"{spec.submodule_search_locations[0]}/trainer/config"


def _explain(message: str, preset: str) -> str:
    """Make one line of Hydra's message, with the keys that exist beside the unknown one."""
    unknown = re.search(r"Could not override '([^']+)'", message)
    if not unknown:
        return f"preset {preset}: {' '.join(message.split())}"
    key = unknown.group(1)
    parent, siblings = _siblings(preset, key)
    guesses = difflib.get_close_matches(key.rsplit(".", 1)[-1], siblings, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(guesses)}?" if guesses else ""
    listed = ", ".join(siblings[:_MAX_LISTED]) + (", ..." if len(siblings) > _MAX_LISTED else "")
    return (
        f"unknown override {key!r}.{hint} {parent or 'The config'} has: {listed}. "
        f"To add a key that verl knows but its config does not list: +{key}=VALUE."
    )


def _siblings(preset: str, key: str) -> tuple[str, list[str]]:
    """Give the deepest part of a dotted key that exists, and the keys it has."""
    from omegaconf import DictConfig

    node = compose(preset)
    path: list[str] = []
    for part in key.split(".")[:-1]:
        child = node.get(part) if part in node else None
        if not isinstance(child, DictConfig):
            break
        node = child
        path.append(part)
    return ".".join(path), sorted(str(name) for name in node)
