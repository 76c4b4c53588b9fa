"""What rollouts and updates report, without an engine."""

import asyncio
from pathlib import Path

import pytest

from search_r1.client import SearchClient, SearchClientConfig
from search_r1.runs.progress import ProgressFile, read_progress
from search_r1.types import Generation
from search_r1.verl_plugin.progress_rollout import CountedPolicy, MarkedRollouts, RolloutProgress


class Clock:
    """A clock on which every reading is a second later, so that no report is dropped."""

    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class OneTokenPolicy:
    async def generate(self, context_ids, *, max_tokens, stop, stop_token_ids=()):
        return Generation(ids=[1], logprobs=[0.0], context_digest="", metadata={})


@pytest.fixture
def progress(tmp_path: Path) -> RolloutProgress:
    file = ProgressFile(tmp_path, "rollout", Clock())
    return RolloutProgress(file, SearchClient(SearchClientConfig(url="http://127.0.0.1:1")))


def test_trajectories_and_turns_are_counted_by_stage_and_step(
    progress: RolloutProgress, tmp_path: Path
) -> None:
    policy = CountedPolicy(OneTokenPolicy(), progress)

    async def roll(is_validation: bool, step: int, turns: int) -> None:
        with progress.trajectory(is_validation, step):
            for _ in range(turns):
                await policy.generate([0], max_tokens=1, stop=[])

    async def step_of(*trajectories: tuple[bool, int, int]) -> None:
        await asyncio.gather(*(roll(*trajectory) for trajectory in trajectories))

    asyncio.run(step_of((False, 1, 2), (False, 1, 1), (False, 1, 3)))
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.stage, state.step, state.done) == ("rollout", 1, 3)
    assert state.counts == {"turns": 6, "searches": 0}
    asyncio.run(step_of((True, 1, 1)))
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.stage, state.step, state.done, state.counts["turns"]) == ("evaluate", 1, 1, 1)


def test_a_trajectory_that_fails_is_done_too(progress: RolloutProgress, tmp_path: Path) -> None:
    def fail() -> None:
        with progress.trajectory(False, 1):
            raise RuntimeError("the engine is gone")

    with pytest.raises(RuntimeError):
        fail()
    state = read_progress(tmp_path)
    assert state is not None
    assert state.done == 1


@pytest.mark.slow  # imports verl
def test_micro_batches_are_counted_over_the_passes_of_an_update(tmp_path: Path) -> None:
    from verl.utils import tensordict_utils

    from search_r1.verl_plugin.progress_update import PassProgress, mark

    counted = PassProgress(ProgressFile(tmp_path, "worker", Clock()))
    extra: dict[str, object] = {}
    mark(extra, "update", step=4, num_passes=2)
    batch = tensordict_utils.get_tensordict({}, extra)

    def seen() -> tuple[int, int]:
        state = read_progress(tmp_path)
        assert state is not None
        assert (state.stage, state.step) == ("update", 4)
        return state.done, state.total

    first = [seen() for _ in counted.reported(batch, ["a", "b", "c"])]
    assert first == [(0, 6), (1, 6), (2, 6)]
    assert seen() == (3, 6)
    second = [seen() for _ in counted.reported(batch, ["d", "e"])]  # packed into fewer
    assert second == [(3, 5), (4, 5)]
    assert seen() == (5, 5)
    assert next(iter(counted.reported(batch, ["f"]))) == "f"  # the same step once more
    assert seen() == (0, 2)


@pytest.mark.slow  # imports verl
def test_a_batch_that_nobody_marked_is_left_alone(tmp_path: Path) -> None:
    from verl.utils import tensordict_utils

    from search_r1.verl_plugin.progress_update import PassProgress

    batches = ["a"]
    counted = PassProgress(ProgressFile(tmp_path, "worker"))
    assert counted.reported(tensordict_utils.get_tensordict({}, {}), batches) is batches
    assert read_progress(tmp_path) is None


@pytest.mark.slow  # imports verl
def test_agent_loops_learn_whether_a_batch_is_a_validation() -> None:
    from verl.utils import tensordict_utils

    class Manager:
        num_workers = 2

        def generate_sequences(self, batch):
            return tensordict_utils.get_non_tensor_data(batch, "is_validation", default=None)

    rollouts = MarkedRollouts(Manager())
    batch = tensordict_utils.get_tensordict({}, {})
    assert rollouts.generate_sequences(batch) is False
    rollouts.is_validation = True
    assert rollouts.generate_sequences(batch) is True
    assert rollouts.num_workers == 2
