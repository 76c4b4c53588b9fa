"""verl's rollout servers as a policy of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verl.workers.rollout.llm_server import LLMServerClient

from search_r1.types import Generation, digest


class VerlPolicy:
    """Continues one trajectory's ids on one rollout server, for the sake of its prefix cache.

    Args:
        client: verl's client, which balances over the servers.
        request_id: Identifies the trajectory.
        sampling_params: verl's sampling parameters; copied, because a whole group shares them.
    """

    def __init__(
        self, client: LLMServerClient, request_id: str, sampling_params: dict[str, Any]
    ) -> None:
        self._client = client
        self._request_id = request_id
        self._sampling_params = dict(sampling_params)
        self._first_version: int | None = None

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Sample one turn; the metadata tells which weight versions wrote the trajectory so far."""
        output = await self._client.generate(
            request_id=self._request_id,
            prompt_ids=context_ids,
            sampling_params={
                **self._sampling_params,
                "max_tokens": max_tokens,
                "stop": list(stop),
                "stop_token_ids": list(stop_token_ids),
            },
        )
        if self._first_version is None:
            self._first_version = output.extra_fields["min_global_steps"]
        return Generation(
            ids=list(output.token_ids),
            logprobs=list(output.log_probs or []),
            context_digest=digest(context_ids),
            metadata={
                "min_global_steps": self._first_version,
                "max_global_steps": output.extra_fields["max_global_steps"],
            },
        )
