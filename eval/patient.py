"""A server that is away pauses an evaluation; nothing is ever scored as wrong because of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from data_prep.steps import DataPrepError, say
from search_r1.client import SearchClient
from search_r1.errors import RetrieverBadRequest, RetrieverError
from search_r1.policies import Policy
from search_r1.policies.completions import ServerRefused, ServerUnavailable
from search_r1.types import Generation, Passage

T = TypeVar("T")

_PAUSE_S = 5.0


class Patience:
    """Asks a server, and waits while it does not answer.

    Args:
        name: What the server is called in messages.
        wait_s: Seconds without an answer after which it gives up.
        away: What says that it does not answer.
        refused: What says that asking again would not help; looked for first.
    """

    def __init__(
        self, name: str, wait_s: float, away: type[Exception], refused: type[Exception]
    ) -> None:
        self._name, self._wait_s = name, wait_s
        self._away, self._refused = away, refused
        self._waiting = asyncio.Lock()  # one asks, the others wait for it

    async def ask(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what an attempt gives.

        Raises:
            DataPrepError: When the server stays away, or refuses.
        """
        try:
            return await self._try(attempt)
        except self._away as error:
            reason = error
        is_first = not self._waiting.locked()
        async with self._waiting:
            given_up_at = time.monotonic() + self._wait_s
            if is_first:
                said = f"{self._name} does not answer ({reason})"
                say(f"{said}; waiting up to {self._wait_s:.0f} s")
            while time.monotonic() < given_up_at:
                try:
                    return await self._try(attempt)
                except self._away as error:
                    reason = error
                await asyncio.sleep(_PAUSE_S)
        raise DataPrepError(
            f"{self._name} does not answer ({reason}); start it again and run the same command: "
            "what was answered is kept."
        )

    async def _try(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await attempt()
        except self._refused as error:
            raise DataPrepError(f"{self._name} refuses: {error}") from error


class PatientClient:
    """Asks the retrieval server, and waits while it does not answer.

    Args:
        client: Asks it once, with its own retries.
        url: What the server is called in messages.
        wait_s: Seconds without an answer after which it gives up.
    """

    def __init__(self, client: SearchClient, url: str, wait_s: float) -> None:
        self._client = client
        self._patience = Patience(url, wait_s, RetrieverError, RetrieverBadRequest)

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Give the best passages of each query, best first.

        Raises:
            DataPrepError: When the server stays away, or refuses the request.
        """
        return await self._patience.ask(lambda: self._client.search(queries, top_k))


class GuardedPolicy:
    """A policy whose engine may be away or die.

    Args:
        policy: Asks it once.
        ask: Carries an attempt out, and decides what becomes of its failure: ``Patience.ask``.
    """

    def __init__(
        self,
        policy: Policy,
        ask: Callable[[Callable[[], Awaitable[Generation]]], Awaitable[Generation]],
    ) -> None:
        self._policy, self._ask = policy, ask

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Continue token ids.

        Raises:
            DataPrepError: When the engine is lost.
        """
        return await self._ask(
            lambda: self._policy.generate(
                context_ids, max_tokens=max_tokens, stop=stop, stop_token_ids=stop_token_ids
            )
        )


def patience_with_engine(url: str, wait_s: float) -> Patience:
    """Give the patience that one server of completions is asked with."""
    return Patience(f"the model's server {url}", wait_s, ServerUnavailable, ServerRefused)
