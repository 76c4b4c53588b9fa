"""Asks the retrieval server: ``SearchClient`` in an event loop, ``SyncSearchClient`` without one.

What makes requests is imported when it is first asked for: the launcher reads only the settings,
and does without an HTTP library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from search_r1.client.config import SearchClientConfig
from search_r1.errors import (
    RetrieverBadReply,
    RetrieverBadRequest,
    RetrieverError,
    RetrieverUnavailable,
)

if TYPE_CHECKING:
    from search_r1.client.client import SearchClient, SearchCounters
    from search_r1.client.sync import SyncSearchClient

__all__ = [
    "RetrieverBadReply",
    "RetrieverBadRequest",
    "RetrieverError",
    "RetrieverUnavailable",
    "SearchClient",
    "SearchClientConfig",
    "SearchCounters",
    "SyncSearchClient",
]

_LATE = {"SearchClient": "client", "SearchCounters": "client", "SyncSearchClient": "sync"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
