"""A retriever that is away pauses an evaluation; it is never scored as wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from data_prep.steps import DataPrepError, say
from search_r1.search_client import RetrieverBadRequest, RetrieverError, SearchClient
from search_r1.types import Passage

_PAUSE_S = 5.0


class PatientClient:
    """Asks the retrieval server, and waits while it does not answer.

    Args:
        client: Asks it once, with its own retries.
        url: What the server is called in messages.
        wait_s: Seconds without an answer after which it gives up.
    """

    def __init__(self, client: SearchClient, url: str, wait_s: float) -> None:
        self._client, self._url, self._wait_s = client, url, wait_s
        self._waiting = asyncio.Lock()  # one asks, the others wait for it

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Give the best passages of each query, best first.

        Raises:
            DataPrepError: When the server stays away, or refuses the request.
        """
        try:
            return await self._client.search(queries, top_k)
        except RetrieverBadRequest as error:
            raise DataPrepError(f"{self._url} refuses: {error}") from error
        except RetrieverError as error:
            reason = error
        async with self._waiting:
            given_up_at = time.monotonic() + self._wait_s
            say(f"{self._url} does not answer ({reason}); waiting up to {self._wait_s:.0f} s")
            while time.monotonic() < given_up_at:
                try:
                    return await self._client.search(queries, top_k)
                except RetrieverError as error:
                    reason = error
                await asyncio.sleep(_PAUSE_S)
        raise DataPrepError(
            f"{self._url} does not answer ({reason}); start it again and run the same command: "
            "what was answered is kept."
        )
