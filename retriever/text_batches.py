"""Which texts a model reads together."""

from collections.abc import Iterator

# Larger batches of long texts leave the CPU's caches and are slower.
_CPU_TOKENS_AT_ONCE = 4096
# What calling MiniLM costs on two cores, in tokens that it could have read meanwhile.
_CALL_TOKENS = 50


def cut_batches(lengths: list[int], batch_size: int, is_cpu: bool) -> Iterator[list[int]]:
    """Yield places in batches of like length, longest texts first.

    Args:
        lengths: Tokens of each text.
        batch_size: Texts in a batch, at most.
        is_cpu: Small batches with little padding are best; a GPU wants large ones.
    """
    ordered = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    for start, end in _cuts([lengths[at] for at in ordered]) if is_cpu else [(0, len(ordered))]:
        most = batch_size
        if is_cpu:
            most = min(batch_size, max(_CPU_TOKENS_AT_ONCE // max(lengths[ordered[start]], 1), 1))
        for first in range(start, end, most):
            yield ordered[first : min(first + most, end)]


def _cuts(lengths: list[int]) -> list[tuple[int, int]]:
    """Cut falling lengths into runs where another call costs less than padding them alike would.

    Padding is most of the work where short and long queries meet.
    """
    ends = [at for at in range(1, len(lengths)) if lengths[at] != lengths[at - 1]]
    bounds = [0, *ends, len(lengths)] if lengths else [0]
    cost, cut = [0.0] * len(bounds), [0] * len(bounds)  # of what stands before each bound
    for end in range(1, len(bounds)):
        cost[end], cut[end] = min(
            (cost[i] + _CALL_TOKENS + lengths[bounds[i]] * (bounds[end] - bounds[i]), i)
            for i in range(end)
        )
    runs, end = [], len(bounds) - 1
    while end:
        runs.append((bounds[cut[end]], bounds[end]))
        end = cut[end]
    return runs[::-1]
