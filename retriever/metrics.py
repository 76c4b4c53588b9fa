"""What a server counts, in a registry of its own, so that two apps can live in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from retriever.batcher import Batcher

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one application, for Prometheus."""

    def __init__(self) -> None:
        """Register everything at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "retriever_requests", "Answers of /retrieve.", ["status"], registry=self.registry
        )
        self._queries = Counter("retriever_queries", "Queries answered.", registry=self.registry)
        self._seconds = Histogram(
            "retriever_request_seconds",
            "Time from parsed request to finished answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "retriever_waiting_requests", "Requests waiting now.", registry=self.registry
        )
        self._batches = Gauge(
            "retriever_batches", "Searches made of the index so far.", registry=self.registry
        )

    def observe_queue(self, batcher: Batcher) -> None:
        """Read queue length and batch count from a batcher whenever metrics are asked for."""
        self._waiting.set_function(lambda: batcher.waiting)
        self._batches.set_function(lambda: batcher.batches)

    def count(self, status: int, queries: int = 0, seconds: float | None = None) -> None:
        """Record one answer; queries count only when they were answered."""
        self._requests.labels(status=str(status)).inc()
        if status == 200:
            self._queries.inc(queries)
        if seconds is not None:
            self._seconds.observe(seconds)
