"""Rollouts that tell how far they are: trajectories, turns and searches, as they happen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from search_r1.client import SearchClient
from search_r1.policies import Policy
from search_r1.runs.progress import ProgressFile
from search_r1.types import Generation

IS_VALIDATION = "is_validation"  # the column by which the trainer tells agent loops what a batch is


class RolloutProgress:
    """Counts what the trajectories of one process have done in the stage that is going on.

    Args:
        file: Where it is reported; the trainer reports the total there.
        client: Counts the searches of this process.
    """

    def __init__(self, file: ProgressFile, client: SearchClient) -> None:
        self._file = file
        self._client = client
        self._place: tuple[str, int] | None = None
        self._num_open = 0
        self._num_done = 0
        self._num_turns = 0
        self._searches_before = 0

    @contextmanager
    def trajectory(self, is_validation: bool, step: int) -> Iterator[None]:
        """Count one trajectory, as done however it ends."""
        place = ("evaluate" if is_validation else "rollout", step)
        if place != self._place:
            self._place, self._num_done, self._num_turns = place, 0, 0
            self._searches_before = self._client.counters.searches
        self._num_open += 1
        try:
            yield
        finally:
            self._num_open -= 1
            if place == self._place:  # else it is a straggler of the stage before
                self._num_done += 1
                self.report(is_forced=self._num_open == 0)

    def count_turn(self) -> None:
        """Count a turn that the model has written."""
        self._num_turns += 1
        self.report()

    def report(self, is_forced: bool = False) -> None:
        """Write the counts."""
        if self._place is None:
            return
        stage, step = self._place
        searches = self._client.counters.searches - self._searches_before
        counts = {"turns": self._num_turns, "searches": searches}
        self._file.report(stage, self._num_done, 0, step=step, is_forced=is_forced, **counts)


class CountedPolicy:
    """A policy whose turns are counted.

    Args:
        policy: Writes them.
        progress: Counts them.
    """

    def __init__(self, policy: Policy, progress: RolloutProgress) -> None:
        self._policy = policy
        self._progress = progress

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Sample one turn as the policy does."""
        generation = await self._policy.generate(
            context_ids, max_tokens=max_tokens, stop=stop, stop_token_ids=stop_token_ids
        )
        self._progress.count_turn()
        return generation


class MarkedRollouts:
    """verl's agent loop manager, with every batch marked as training or validation.

    verl tells its own worker, but not the agent loop.

    Args:
        manager: verl's.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.is_validation = False

    def generate_sequences(self, batch: Any) -> Any:
        """Start a batch as verl does."""
        from verl.utils import tensordict_utils

        tensordict_utils.assign_non_tensor_data(batch, IS_VALIDATION, self.is_validation)
        return self._manager.generate_sequences(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)
