"""A bearer token that every request but /health must show."""

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from retriever.serving.replies import reply_error

OPEN_PATHS = ("/health",)


class TokenGate:
    """Lets requests with the token through, and answers 401 to others before reading them."""

    def __init__(self, app: ASGIApp, token: str, on_refusal: Callable[[Scope], object]) -> None:
        """Guard an application.

        Args:
            app: What is guarded.
            token: What comes behind ``Authorization: Bearer``.
            on_refusal: Called with every request that is refused.
        """
        self._app = app
        self._expected = f"bearer {token}".encode()
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._has_token(scope):
            await self._app(scope, receive, send)
            return
        self._on_refusal(scope)
        message = "no valid token; send the header Authorization: Bearer TOKEN."
        refusal = reply_error(401, message, {"WWW-Authenticate": "Bearer"})
        await refusal(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        shown = next((v for name, v in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = shown.partition(b" ")
        # Compared in a time that does not tell how much of it was right.
        return hmac.compare_digest(scheme.lower() + b" " + token.strip(), self._expected)
