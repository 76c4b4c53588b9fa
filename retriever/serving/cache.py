"""Answers of earlier queries, kept as the bytes that were sent."""

import sys
from collections import OrderedDict

from retriever.serving.wire import QueryHits

_ENTRY_BYTES = 250  # dictionary entry, list and objects around the rows, measured
_ROW_BYTES = 41  # what bytes objects and their place in a list take besides their content


class AnswerCache:
    """The answers used last, as many as fit into a number of bytes.

    An answer serves every request for as many hits or fewer, with scores or without.
    """

    def __init__(self, max_bytes: int) -> None:
        """Start empty; 0 bytes keep nothing."""
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, QueryHits] = OrderedDict()
        self.bytes = 0
        """Memory of all answers, to within a tenth."""
        self.hits = 0
        """Queries answered from here so far."""
        self.misses = 0
        """Queries that were not here, or with too few hits."""
        self.evictions = 0
        """Answers dropped to make room."""

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, query: str, top_k: int) -> QueryHits | None:
        """Give the answer of a query, if the best ``top_k`` hits are known."""
        found = self._answers.get(query)
        if found is None or not found.covers(top_k):
            self.misses += 1
            return None
        self.hits += 1
        self._answers.move_to_end(query)
        return found

    def put(self, query: str, found: QueryHits) -> None:
        """Keep an answer, and drop those that were not used for longest to make room."""
        size = _measure(query, found)
        if size > self._max_bytes:
            return
        replaced = self._answers.pop(query, None)
        if replaced is not None:
            self.bytes -= _measure(query, replaced)
        self._answers[query] = found
        self.bytes += size
        while self.bytes > self._max_bytes:
            oldest = self._answers.popitem(last=False)
            self.bytes -= _measure(*oldest)
            self.evictions += 1


def _measure(query: str, found: QueryHits) -> int:
    rows = sum(map(len, found.rows)) + _ROW_BYTES * len(found.rows)
    return sys.getsizeof(query) + rows + _ENTRY_BYTES
