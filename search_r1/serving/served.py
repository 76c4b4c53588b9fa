"""How the command that starts a server tells the plugin inside it which parser to make."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_VARIABLE = "SEARCH_R1_SERVED_PARSER"


@dataclass(frozen=True, slots=True)
class ServedParser:
    """The parser of a server."""

    name: str = "search_tags"
    """Its name here; ``vllm:NAME`` is served by vLLM itself."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the parser."""
    plugin: str | None = None
    """Python file that registers parsers of your own."""

    def environment(self) -> dict[str, str]:
        """Give the variable that hands this to the server."""
        return {_VARIABLE: json.dumps(asdict(self))}


def read_served_parser() -> ServedParser:
    """Read what the command handed over; the defaults in a server that was started otherwise."""
    return ServedParser(**json.loads(os.environ.get(_VARIABLE, "{}")))


def name_in_vllm(name: str) -> str:
    """Give the name for vLLM's ``--tool-call-parser``."""
    if name.startswith("vllm:"):
        return name.removeprefix("vllm:")
    return "search_r1" if name == ServedParser().name else f"search_r1_{name}"
