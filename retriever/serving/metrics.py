"""What a server counts, in a registry of its own, so that two apps can live in one process."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from retriever.serving.cache import AnswerCache

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """Counters of one application, for Prometheus."""

    def __init__(self) -> None:
        """Register everything at zero."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "retriever_requests", "Answers of /retrieve.", ["status"], registry=registry
        )
        self._answered = self._requests.labels(status="200")
        self._errors = Counter(
            "retriever_errors",
            "Requests that got no passages, by reason.",
            ["kind"],
            registry=registry,
        )
        self._queries = Counter("retriever_queries", "Queries answered.", registry=registry)
        self._joined = Counter(
            "retriever_joined_queries",
            "Queries that waited for the same query of another request.",
            registry=registry,
        )
        self._seconds = Histogram(
            "retriever_request_seconds",
            "Time from the request's first byte to its finished answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        stages = Histogram(
            "retriever_stage_seconds",
            "Time a query waits for its search, a batch is searched, its hits are serialised.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait, self._search = stages.labels(stage="wait"), stages.labels(stage="search")
        self._serialise = stages.labels(stage="serialise")
        self._batches = Histogram(
            "retriever_batch_queries",
            "Queries searched together.",
            buckets=_QUERIES,
            registry=registry,
        )
        self._waiting = Gauge(
            "retriever_waiting_queries",
            "Queries accepted and not yet answered.",
            registry=registry,
        )

    def watch(self, cache: AnswerCache, count_waiting: Callable[[], int]) -> None:
        """Read the cache and the queue whenever metrics are asked for."""
        self._waiting.set_function(count_waiting)
        self.registry.register(_CacheCollector(cache))

    def count_answer(self, queries: int, seconds: float) -> None:
        """Record a request that got its passages."""
        self._answered.inc()
        self._queries.inc(queries)
        self._seconds.observe(seconds)

    def count_error(self, kind: str, status: int | None) -> None:
        """Record a request that did not; the status is None where /retrieve sent no answer."""
        self._errors.labels(kind=kind).inc()
        if status is not None:
            self._requests.labels(status=str(status)).inc()

    def observe_wait(self, seconds: float) -> None:
        """Record how long a query waited before it was searched."""
        self._wait.observe(seconds)

    def observe_batch(self, queries: int, search_s: float, write_s: float) -> None:
        """Record a search that went well."""
        self._batches.observe(queries)
        self._search.observe(search_s)
        self._serialise.observe(write_s)

    def observe_join(self) -> None:
        """Record a query that another request had already asked."""
        self._joined.inc()


class _CacheCollector(Collector):
    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """Read the cache's own counts."""
        cache = self._cache
        counts = {"hits": cache.hits, "misses": cache.misses, "evictions": cache.evictions}
        for name, value in counts.items():
            yield CounterMetricFamily(
                f"retriever_cache_{name}", f"Queries: cache {name}.", value=value
            )
        yield GaugeMetricFamily("retriever_cache_bytes", "Memory of the cache.", value=cache.bytes)
        yield GaugeMetricFamily("retriever_cache_entries", "Answers kept.", value=len(cache))
