"""Settings of the client of the retrieval server."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import contract

TOKEN_VARIABLE = contract.TOKEN_VARIABLE


@dataclass(frozen=True, slots=True)
class SearchClientConfig:
    """Where the retrieval servers are, and how patient to be."""

    url: str | Sequence[str] = "http://127.0.0.1:8000"
    """Address of the server, without /retrieve. Several (a list, or one string with commas) must
    serve the same index: searches are spread over those that work."""
    timeout_s: float = 30.0
    """Seconds one attempt may take."""
    deadline_s: float = 120.0
    """Seconds all attempts of one search may take together."""
    max_attempts: int | None = None
    """Attempts per search, the first included; 1 never retries, None goes on until the deadline.
    One that an open circuit breaker holds back does not count."""
    backoff_s: float = 0.1
    """Longest pause before every server is tried a second time, in seconds; doubles from there."""
    max_backoff_s: float = 5.0
    """Longest pause before any attempt, in seconds, unless the server asks for more."""
    max_connections: int = 64
    """Requests under way at once; further searches wait their turn."""
    breaker_failures: int = 5
    """Failures in a row after which a server is left alone for a while."""
    breaker_pause_s: float = 1.0
    """Seconds until one search tries such a server again, before the others follow."""
    token: str | None = field(default=None, repr=False)
    """Bearer token; None takes the environment variable RETRIEVER_TOKEN, if it is set."""

    def __post_init__(self) -> None:
        """Check addresses and numbers."""
        if not isinstance(self.url, str):
            object.__setattr__(self, "url", tuple(self.url))  # hashable, as a frozen class should
        if not self.urls:
            raise ValueError(f"url is {self.url!r}; expected one address or more.")
        for url in self.urls:
            _check_url(url)
        for name in ("timeout_s", "deadline_s", "backoff_s", "max_backoff_s", "breaker_pause_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0 seconds.")
        for name in ("max_attempts", "max_connections", "breaker_failures"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more.")
        self.read_token()

    @property
    def urls(self) -> tuple[str, ...]:
        """Every server's address once, in the order given, without a slash at the end."""
        return split_urls(self.url)

    def read_token(self) -> str | None:
        """Give the bearer token of this config or of the environment.

        Raises:
            ValueError: If it cannot stand in a header; the message does not show it.
        """
        token = self.token or os.environ.get(TOKEN_VARIABLE) or None
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError(
                f"the bearer token (token, or {TOKEN_VARIABLE}) has a space, a line break or a "
                "character that is not ASCII; give the bare token."
            )
        return token


def _check_url(url: str) -> None:
    if "@" in url:  # not shown: what stands before it may be a password
        raise ValueError(
            "url has a user name or password in it (an @), and a run writes its addresses down; "
            f"give http://HOST:PORT, and a secret as bearer token in {TOKEN_VARIABLE}."
        )
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        is_usable = False
    if not is_usable:
        raise ValueError(f"url is {url!r}; expected http://HOST:PORT or https://HOST.")


def split_urls(value: str | Sequence[str]) -> tuple[str, ...]:
    """List the addresses that stand between commas, or in a list: each once, in order."""
    given = value.split(",") if isinstance(value, str) else value
    stripped = (url.strip().rstrip("/") for url in given)
    return tuple(dict.fromkeys(url for url in stripped if url))
