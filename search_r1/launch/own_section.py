"""Settle our own keys of a composed config: what is off, what a run sets itself, what is secret."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from search_r1.client.config import TOKEN_VARIABLE
from search_r1.cold_start import ColdStartConfig
from search_r1.errors import UsageError
from search_r1.evaluation import EvaluationConfig

STAGES = {"cold_start": ColdStartConfig, "evaluation": EvaluationConfig}
"""Sections that are off while they name no question file."""


def settle(config: dict[str, Any]) -> None:
    """Check our section and turn what is off into None, in place.

    Args:
        config: A composed, resolved config, before a run's own values are filled in.

    Raises:
        UsageError: For a value that would be replaced, ignored, or written down though secret.
    """
    section = config["search_r1"]
    _refuse_chosen_folders(config)
    _refuse_secrets(section)
    for name in STAGES:
        section[name] = _stage(name, section.get(name))
    client = section["retriever"]["client"]
    if client.get("url") is None:  # of the server the launcher starts
        client.pop("url", None)


def _refuse_chosen_folders(config: dict[str, Any]) -> None:
    for part, key in (("search_r1", "run_dir"), ("trainer", "default_local_dir")):
        if (value := config[part].get(key)) is not None:
            raise UsageError(
                f"{part}.{key}={value} cannot be chosen: a run and its checkpoints go to "
                "PRESET/TIMESTAMP in the folder that SEARCH_R1_RUNS names (default: runs/); leave "
                "it out and set that environment variable."
            )


def _refuse_secrets(section: dict[str, Any]) -> None:
    client, env = section["retriever"]["client"], section["env"]
    for key, value in (
        ("retriever.client.token", client.get("token")),
        (f"env.{TOKEN_VARIABLE}", env.get(TOKEN_VARIABLE)),
    ):
        if value is not None:
            raise UsageError(
                f"search_r1.{key} would be written into the run's folder; leave it out and give "
                f"the token in the environment variable {TOKEN_VARIABLE}."
            )


def _stage(name: str, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give a stage's section, or None when it is off."""
    if given is None or given.get("questions"):
        return given
    defaults = {field.name: field.default for field in fields(STAGES[name])}
    for key, value in given.items():
        if key != "questions" and value != defaults.get(key, MISSING):
            raise UsageError(
                f"search_r1.{name}.{key}={value}, but search_r1.{name}.questions is null, so there "
                f"is none; name a question file, or set search_r1.{name}=null."
            )
    return None
