"""Which texts a model reads together."""

from collections.abc import Iterator

# Larger batches of long texts leave the CPU's caches and are slower.
_CPU_TOKENS_AT_ONCE = 4096
# What calling MiniLM costs on two cores, in tokens that it could have read meanwhile.
_CALL_TOKENS = 100
ROW_STEP = 8
"""Packed rows are multiples of so many tokens long: fewer shapes, fewer kernels to make."""


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


def cut_rows(lengths: list[int], batch_size: int, width: int) -> Iterator[list[list[int]]]:
    """Yield batches of rows of places; each row holds texts that are read one after the other.

    Args:
        lengths: Tokens of each text. Texts without any are left out.
        batch_size: Texts in a batch, at most.
        width: Tokens in a row; a longer text makes all rows of its batch as long.
    """
    ordered = sorted((at for at, n in enumerate(lengths) if n), key=lambda at: -lengths[at])
    start = 0
    while start < len(ordered):
        longest, tokens, end = max(width, lengths[ordered[start]]), 0, start
        while end < len(ordered) and end - start < batch_size:
            tokens += lengths[ordered[end]]
            if end > start and tokens > _CPU_TOKENS_AT_ONCE:
                break
            end += 1
        yield _fill_evenly(lengths, ordered[start:end], longest)
        start = end


def _fill_evenly(lengths: list[int], ordered: list[int], width: int) -> list[list[int]]:
    """Fill as few rows as ``width`` allows, each with about as many tokens."""
    rows = _fill_rows(lengths, ordered, width)
    tokens = sum(lengths[at] for at in ordered)
    for narrower in range(max(lengths[ordered[0]], -(-tokens // len(rows))), width, ROW_STEP):
        found = _fill_rows(lengths, ordered, narrower)
        if len(found) == len(rows):
            return found
    return rows


def _fill_rows(lengths: list[int], ordered: list[int], width: int) -> list[list[int]]:
    """Put each text, longest first, into the first row that has room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for at in ordered:
        length = lengths[at]
        found = next((row for row, left in enumerate(room) if left >= length), None)
        if found is None:
            rows.append([at])
            room.append(width - length)
        else:
            rows[found].append(at)
            room[found] -= length
    return rows
