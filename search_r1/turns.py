"""What a sampled turn says: how it ended, and which action it holds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from search_r1.answers import ANSWER_CLOSE, find_answer
from search_r1.parsers.base import ExtractedToolCalls, ParseStatus, ToolParser
from search_r1.tokens import Codec
from search_r1.types import FinishReason, ToolCall, Turn

logger = logging.getLogger(__name__)

_THOUGHT_CLOSE = "</think>"


@dataclass(frozen=True, slots=True)
class Answer:
    """The turn closed an answer, possibly an empty one."""

    text: str


@dataclass(frozen=True, slots=True)
class Calls:
    """The turn closed at least one call."""

    calls: list[ToolCall]


@dataclass(frozen=True, slots=True)
class Mistake:
    """The turn did neither, or wrote what only others write; ``error`` is told to the model."""

    error: str


Action = Answer | Calls | Mistake


class TurnReader:
    """Reads turns in one call format.

    Attributes:
        stop: Strings that end a turn.
        stop_token_ids: Tokens that end a turn, beside the model's end of text.
        ending_ids: Tokens that end a turn: the model's end of text and the format's own.

    Args:
        codec: The policy's tokenizer.
        parser: The call format.
        is_message_answer: Take a finished turn without a call for an answer, tags or not.
    """

    def __init__(self, codec: Codec, parser: ToolParser, is_message_answer: bool) -> None:
        self._codec = codec
        self._parser = parser
        self._is_message_answer = is_message_answer
        stops = (*parser.stop, *parser.forbidden, ANSWER_CLOSE)
        # Engines look for stop strings in text without special tokens.
        special = {codec.special_ids[stop] for stop in stops if stop in codec.special_ids}
        self.stop = tuple(stop for stop in stops if stop not in codec.special_ids)
        self.stop_token_ids = (*parser.stop_token_ids, *sorted(special))
        self.ending_ids = {*codec.eos_ids, *parser.stop_token_ids}
        self._stopping_ids = special - self.ending_ids
        self._has_failed = False

    def finish_reason(self, ids: Sequence[int], text: str, budget: int) -> FinishReason:
        """Tell from the ids how a turn ended; engines report it differently or not at all."""
        if ids[-1] in self._stopping_ids or any(stop in text for stop in self.stop):
            return FinishReason.STOP
        if ids[-1] in self.ending_ids:
            return FinishReason.EOS
        return FinishReason.LENGTH if len(ids) >= budget else FinishReason.ABORT

    def find_action(self, turn: Turn) -> Action:
        """Find the turn's action; ``turn`` takes note of whether it was well-formed.

        Of answer and calls, what was closed first counts; thoughts that were closed do not.
        """
        text = turn.opening + self._without_ending(turn)
        text = text.rpartition(_THOUGHT_CLOSE)[2]
        parsed = self._extract(text)
        turn.is_malformed_call = parsed.status is ParseStatus.MALFORMED
        answer = find_answer(text[: parsed.unfinished])
        is_call = parsed.status is ParseStatus.CALL and (answer is None or parsed.end < answer[1])
        end = parsed.end if is_call else answer[1] if answer else len(text)
        for forbidden in self._parser.forbidden:
            if 0 <= text.find(forbidden) < end:
                return Mistake(f"{forbidden} is written for you, not by you")
        if is_call or answer:
            turn.well_formed = not turn.is_malformed_call
            turn.overrun = bool(text[end:])
        if is_call:
            return Calls(parsed.tool_calls)
        if answer:
            return Answer(answer[0])
        if self._is_message(turn, parsed):
            turn.well_formed = True
            return Answer(text.strip())
        return Mistake(parsed.error or "there was neither a call nor an answer")

    def _extract(self, text: str) -> ExtractedToolCalls:
        """Parse; somebody else's parser that raises has read a broken call, and ends nothing."""
        try:
            return self._parser.extract_tool_calls(text)
        except Exception:  # a plugin can raise anything
            level = logging.DEBUG if self._has_failed else logging.WARNING
            self._has_failed = True
            logger.log(level, "%s raised", type(self._parser).__name__, exc_info=True)
            error = "the call could not be read"
            return ExtractedToolCalls(ParseStatus.MALFORMED, error=error)

    def _without_ending(self, turn: Turn) -> str:
        """Give the text of a turn without the token that ended it."""
        for token_id in self.ending_ids if turn.stop_reason is FinishReason.EOS else ():
            ending = self._codec.decode([token_id])
            if ending and turn.model_text.endswith(ending):
                return turn.model_text.removesuffix(ending)
        return turn.model_text

    def _is_message(self, turn: Turn, parsed: ExtractedToolCalls) -> bool:
        return (
            self._is_message_answer
            and turn.stop_reason is FinishReason.EOS
            and parsed.status is ParseStatus.NO_CALL
            and bool(parsed.content.strip())
        )
