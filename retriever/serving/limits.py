"""What one server accepts, holds, and keeps."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server: on a request, on the queue, on memory."""

    max_queries: int = 4096
    """Queries in one request; Search-R1's default batch asks for 2,560."""
    max_query_chars: int = 8192
    """Characters in one query."""
    max_top_k: int = 1000
    """Hits per query."""
    max_hits: int = 16_384
    """Queries times hits per query, in one answer, and in one search of several queries."""
    max_body_bytes: int = 4 * 2**20
    """Bytes in the body of one request."""
    max_waiting: int = 16_384
    """Queries accepted and not yet answered; a request over it gets 503."""
    max_batch: int = 256
    """Queries searched together, at most; fewer if the retriever's own ``max_batch`` is smaller,
    or if they want more than ``max_hits`` together."""
    timeout_s: float = 30.0
    """Seconds from a request's arrival to its answer; a request may ask for fewer."""
    cache_bytes: int = 256 * 2**20
    """Memory for the answers of earlier queries; 0 keeps none."""

    def __post_init__(self) -> None:
        """Check that every limit lets something through."""
        for limit in fields(self):
            value = getattr(self, limit.name)
            if limit.name == "cache_bytes":
                if value < 0:
                    raise ValueError(f"cache_bytes is {value}; expected 0 (no cache) or more.")
            elif limit.name == "timeout_s":
                if not 0 < value < float("inf"):
                    raise ValueError(f"timeout_s is {value}; expected more than 0 seconds.")
            elif value < 1:
                raise ValueError(f"{limit.name} is {value}; expected 1 or more.")
