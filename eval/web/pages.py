"""A page and its API on this machine: static files, and headers that keep a page to itself."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SHARED = Path(__file__).with_name("static")


def make_app(static: Path) -> FastAPI:
    """Make the app of one page; its API is added by the caller.

    Args:
        static: Folder with ``index.html`` and what it loads from ``static/``; what pages share is
            served at ``shared/``.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    # A page elsewhere must not read what is served here under a name of its own.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.add_middleware(_Headers)
    app.mount("/static", StaticFiles(directory=static))
    app.mount("/shared", StaticFiles(directory=_SHARED))

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(static / "index.html")

    return app


class _Headers:
    """Adds to every answer what keeps scripts and requests of others out of the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)
