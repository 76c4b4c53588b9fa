"""Engines behind the loop: whatever can continue a list of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from search_r1.types import Generation


class Policy(Protocol):
    """Continues token ids; one call is one turn."""

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Sample until a stop string is completed, the model ends its text, or the budget is spent.

        Args:
            context_ids: Prompt and response so far, exactly as they are to be fed to the model.
            max_tokens: Budget of this turn; at least 1.
            stop: Strings that end the turn once the sampled text contains one.
            stop_token_ids: Tokens that end the turn, beside the model's own end of text.

        Returns:
            The sampled ids with one logprob each. The id that completes a stop string is included,
            whole.
        """
        ...
