"""Which server a search goes to, and what happens after a failed attempt. Does no I/O.

Every server has a circuit breaker: after some failures in a row it is left alone for a pause, then
one search probes it while the others still stay away. A reply of the server closes the breaker,
even one that says it is busy; a bare 502, 503 or 504 speaks for a proxy with nothing behind it.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from search_r1.client.config import SearchClientConfig
from search_r1.client.wire import AttemptFailedError
from search_r1.errors import RetrieverError, RetrieverUnavailable

_MAX_DOUBLINGS = 60  # far above any pause; keeps the power within a float


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server, as this client sees it. Times are those of the clock of its ``Endpoints``."""

    url: str
    in_flight: int = 0
    """Attempts under way."""
    failures: int = 0
    """Failures in a row."""
    rests_until: float = 0.0
    """When an open breaker lets a probe through."""
    is_probed: bool = False
    """Whether that probe is under way."""
    problem: str = "not asked yet"
    """What the last failure was."""


class Endpoints:
    """The servers of one client and their breakers, shared by all its searches."""

    def __init__(
        self, config: SearchClientConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with every breaker closed; ``clock`` gives seconds."""
        self.all = [Endpoint(url) for url in config.urls]
        self.clock = clock
        self._config = config

    def wait_s(self, endpoint: Endpoint) -> float:
        """Give the seconds until an attempt may go to a server: 0 while its breaker is closed."""
        return max(0.0, endpoint.rests_until - self.clock()) if self._is_open(endpoint) else 0.0

    def is_usable(self, endpoint: Endpoint) -> bool:
        """Tell whether an attempt may go to a server now."""
        is_probed = self._is_open(endpoint) and endpoint.is_probed
        return self.wait_s(endpoint) == 0 and not is_probed

    @contextmanager
    def attempt(self, endpoint: Endpoint) -> Iterator[None]:
        """Count an attempt as under way, and learn from how it ends.

        An attempt that is cancelled, or that fails without being the server's fault, shows nothing.
        """
        is_probe = self._is_open(endpoint)
        endpoint.in_flight += 1
        endpoint.is_probed |= is_probe
        try:
            yield
            endpoint.failures = 0
        except AttemptFailedError as failed:
            endpoint.problem = str(failed)
            if failed.shows == "down":
                self._note_failure(endpoint)
            elif failed.shows == "alive":
                endpoint.failures = 0
            raise
        except RetrieverError:  # it answered, though not with passages
            endpoint.failures = 0
            raise
        finally:
            endpoint.in_flight -= 1
            if is_probe:
                endpoint.is_probed = False

    def _is_open(self, endpoint: Endpoint) -> bool:
        return endpoint.failures >= self._config.breaker_failures

    def _note_failure(self, endpoint: Endpoint) -> None:
        endpoint.failures += 1
        # Jitter, so that the processes of a cluster do not all probe at the same moment.
        pause_s = self._config.breaker_pause_s * random.uniform(0.75, 1.25)
        endpoint.rests_until = self.clock() + pause_s


class Attempts:
    """The decisions of one search: where the next attempt goes, and after which pause."""

    def __init__(self, config: SearchClientConfig, endpoints: Endpoints) -> None:
        """Start the search's deadline."""
        self._config = config
        self._endpoints = endpoints
        self._started = endpoints.clock()
        self._asked_to_wait: dict[Endpoint, float] = {}  # until when, by Retry-After
        self._failed: set[Endpoint] = set()  # in this round; a round tries every usable server
        self._rounds = 0
        self.count = 0
        """Attempts so far, without those that a breaker held back."""

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._started + self._config.deadline_s - self._endpoints.clock()

    @contextmanager
    def attempt(self) -> Iterator[Endpoint]:
        """Make one attempt at the server that is best placed: the least busy usable one.

        Raises:
            AttemptFailedError: If every server is to be left alone now.
        """
        usable = self._list_usable()
        if not usable:
            problems = (f"{endpoint.url}: {endpoint.problem}" for endpoint in self._endpoints.all)
            raise AttemptFailedError(f"left alone for now, after {'; '.join(problems)}")
        self.count += 1
        fresh = [endpoint for endpoint in usable if endpoint not in self._failed] or usable
        endpoint = min(fresh, key=lambda one: (one.in_flight, random.random()))
        try:
            with self._endpoints.attempt(endpoint):
                yield endpoint
        except AttemptFailedError as failed:
            self._failed.add(endpoint)
            self._asked_to_wait[endpoint] = self._endpoints.clock() + failed.pause_s
            raise

    def next_pause_s(self, failed: AttemptFailedError) -> float:
        """Give the pause before the next attempt: none while a usable server is left to try.

        Raises:
            RetrieverUnavailable: If no attempt is left, or none before the deadline.
        """
        pause_s = 0.0
        if not set(self._list_usable()) - self._failed:
            self._failed.clear()
            longest_s = self._config.backoff_s * 2.0 ** min(self._rounds, _MAX_DOUBLINGS)
            self._rounds += 1
            # Jitter, so that trajectories that failed together do not come back together.
            pause_s = random.uniform(0.0, min(longest_s, self._config.max_backoff_s))
            pause_s += min(self._wait_s(endpoint) for endpoint in self._endpoints.all)
        most = self._config.max_attempts
        if (most is None or self.count < most) and pause_s < self.left_s:
            return pause_s
        urls = [endpoint.url for endpoint in self._endpoints.all]
        raise RetrieverUnavailable(
            f"no answer from {', '.join(f'{url}/retrieve' for url in urls)} after {self.count} "
            f"attempts in {self._config.deadline_s - self.left_s:.1f} s (last: {failed}); check "
            f"that the server runs and is not overloaded: curl {urls[0]}/ready"
        ) from failed

    def _list_usable(self) -> list[Endpoint]:
        return [
            endpoint
            for endpoint in self._endpoints.all
            if self._endpoints.is_usable(endpoint) and self._wait_s(endpoint) == 0
        ]

    def _wait_s(self, endpoint: Endpoint) -> float:
        asked_s = self._asked_to_wait.get(endpoint, 0.0) - self._endpoints.clock()
        return max(asked_s, self._endpoints.wait_s(endpoint), 0.0)
