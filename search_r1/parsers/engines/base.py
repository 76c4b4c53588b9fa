"""What the adapters of vLLM's and verl's parsers share: all that no engine's parser says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from search_r1.parsers.base import ToolParser, ToolSchema
from search_r1.parsers.calls import HOW_TO_ANSWER
from search_r1.parsers.results import defuse, write_tool_responses

logger = logging.getLogger(__name__)


class EngineParser(ToolParser):
    """An engine's own parser as a parser of rollouts.

    Attributes:
        engine: The engine's name, for messages.
        engine_class: The engine's parser.

    Args:
        tokenizer: The model's tokenizer.
        tools: The tools on offer.
        stop: Strings that end a turn, for models that do not end their turns.
    """

    engine: str
    engine_class: type[Any]

    def __init__(
        self, tokenizer: Any = None, tools: Sequence[ToolSchema] = (), *, stop: Sequence[str] = ()
    ) -> None:
        super().__init__(tokenizer, tools)
        self.stop = tuple(stop)
        self._has_failed = False

    def format_results(self, texts: Sequence[str]) -> str:
        """Write results the Hermes way: no engine says how a format writes them in a raw prompt."""
        return write_tool_responses([defuse(text, self.markers) for text in texts])

    def explain(self, message: str) -> str:
        """Say what was wrong; how a call is written stands in the prompt, not in the parser."""
        how_to_call = "Call a tool in the format of the prompt."
        return f"That did not work: {message}. {how_to_call} {HOW_TO_ANSWER}"

    def _log_failure(self) -> None:
        """Report what the engine's parser raised, once: one that fails would fill the log."""
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        logger.log(
            level,
            "%s's %s raised on what the model wrote; it counts as no call read",
            self.engine,
            self.engine_class.__name__,
            exc_info=True,
        )
