"""How many queries to search together, and how long to wait for more: learned from the searches."""

_TARGET_S = 0.5  # a longer search keeps newcomers waiting and is hardly more efficient
_LEAST_BATCH = 64  # below this an encoder is inefficient, so a slow search does not shrink it
_WAIT_SHARE = 0.1  # of a search's time, so that waiting in vain costs a tenth at most
_LONGEST_WAIT_S = 0.01
_SMOOTHING = 0.2
_RECOVERY = 0.8  # instead, after a search in less than half the time: the index is warm now


class Pace:
    """The speed of one index, as running averages over its searches."""

    def __init__(self, max_batch: int) -> None:
        """Know nothing yet: searches are as large as allowed, and nobody waits."""
        self._max_batch = max_batch
        self.batch_size = max_batch
        """Queries to search together."""
        self.search_s = 0.0
        """Seconds of a search."""

    @property
    def window_s(self) -> float:
        """Seconds to wait, at most, for others that are about to ask."""
        return min(_WAIT_SHARE * self.search_s, _LONGEST_WAIT_S)

    def estimate_s(self, waiting: int) -> float:
        """Estimate in how many seconds a query behind ``waiting`` others is answered."""
        return (waiting // self.batch_size + 1) * self.search_s

    def observe(self, queries: int, seconds: float) -> None:
        """Learn from a search."""
        if self.search_s:
            share = _RECOVERY if seconds < self.search_s / 2 else _SMOOTHING
            self.search_s += (seconds - self.search_s) * share
        else:
            self.search_s = seconds
        if queries >= min(_LEAST_BATCH, self._max_batch):
            fitting = int(_TARGET_S * queries / max(seconds, 1e-6))
            wanted = max(min(_LEAST_BATCH, self._max_batch), min(fitting, self._max_batch))
            self.batch_size += round((wanted - self.batch_size) * _SMOOTHING)
