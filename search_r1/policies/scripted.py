"""A policy that plays written texts as an engine would sample them: for tests and the demo."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from search_r1.tokens import Codec
from search_r1.types import Generation, digest


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """What the model "samples" in one turn.

    Attributes:
        text: What it writes. Text after the token that completes a stop string is never sampled, as
            with an engine.
        overrun: Text of further tokens that come with the stop string, as when a token holds more
            than its end.
        has_eos: Whether it ends its text with the end-of-text token, unless a stop string or the
            budget ends it first.
    """

    text: str
    overrun: str = ""
    has_eos: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One call of :meth:`ScriptedPolicy.generate`, as it was received."""

    context_ids: list[int]
    max_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]


class ScriptedPolicy:
    """Plays one trajectory's turns in order and keeps every request it got in ``requests``.

    Ids come from encoding the texts, so whole tokens are returned: the one that completes a stop
    string may run past it. An empty text samples nothing, as an engine that gives up.

    Args:
        turns: The script; a plain string is a :class:`ScriptedTurn` without overrun that ends with
            the end-of-text token, unless it is empty.
        codec: Encodes the texts; its smallest end-of-text id is the one sampled.
        logprob: Log-probability given to every sampled id, in nats.
    """

    def __init__(
        self, turns: Sequence[str | ScriptedTurn], codec: Codec, *, logprob: float = -0.5
    ) -> None:
        self._turns = [
            ScriptedTurn(turn, has_eos=bool(turn)) if isinstance(turn, str) else turn
            for turn in turns
        ]
        self._codec = codec
        self._logprob = logprob
        self.requests: list[Request] = []

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Play the next turn of the script.

        Raises:
            LookupError: If the loop asks for more turns than were written.
        """
        played = len(self.requests)
        if played == len(self._turns):
            raise LookupError(
                f"the script has {played} turns and the loop asked for one more; add a turn, or "
                "end the last one with an answer. The context ends with "
                f"{self._codec.decode(context_ids[-40:])!r}"
            )
        self.requests.append(
            Request(list(context_ids), max_tokens, tuple(stop), tuple(stop_token_ids))
        )
        ids = self._sample(self._turns[played], stop)[:max_tokens]
        return Generation(ids, [self._logprob] * len(ids), context_digest=digest(context_ids))

    def _sample(self, turn: ScriptedTurn, stop: Sequence[str]) -> list[int]:
        ids = self._codec.encode(turn.text)
        if any(text in self._codec.decode(ids) for text in stop):
            return ids[: self._stop_length(ids, stop)] + self._codec.encode(turn.overrun)
        return [*ids, self._codec.eos_ids[0]] if turn.has_eos else ids

    def _stop_length(self, ids: list[int], stop: Sequence[str]) -> int:
        """Count the ids up to the first that completes a stop string."""

        def is_complete(length: int) -> bool:
            text = self._codec.decode(ids[:length])
            return any(wanted in text for wanted in stop)

        return bisect_left(range(len(ids)), True, key=is_complete)
