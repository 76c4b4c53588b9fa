"""The web application: one factory, used by the command and by whatever else serves an index."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from contract import PATH, RETRY_AFTER_HEADER
from retriever.serving import schema
from retriever.serving.auth import TokenGate
from retriever.serving.endpoint import RetrieveEndpoint
from retriever.serving.limits import Limits
from retriever.serving.metrics import Metrics
from retriever.serving.replies import reply, reply_error
from retriever.storage.manifest import Manifest
from retriever.types import Retriever


def make_app(
    retriever: Retriever,
    limits: Limits | None = None,
    *,
    manifest: Manifest | None = None,
    token: str | None = None,
    has_access_log: bool = False,
) -> FastAPI:
    """Make the web application for one opened index.

    The application does not close the retriever; whoever opened it does.

    Args:
        retriever: Called from one thread at a time. If it has an attribute ``max_batch`` that is
            not None, it is given at most so many queries together: an online engine that answers
            few a second would keep everybody waiting for a larger batch.
        limits: What a request may ask for, and what is held in memory.
        manifest: What /info tells of the index.
        token: Every request but /health must show it as a bearer token; None asks for none.
        has_access_log: Log a line for every request to /retrieve.
    """
    limits = limits or Limits()
    own_max_batch: int | None = getattr(retriever, "max_batch", None)
    if own_max_batch is not None:
        limits = replace(limits, max_batch=min(limits.max_batch, own_max_batch))
    metrics = Metrics()
    endpoint = RetrieveEndpoint(retriever, limits, metrics, has_access_log)
    metrics.watch(endpoint.cache, lambda: endpoint.waiting)

    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        endpoint.open()
        try:
            yield
        finally:
            await endpoint.aclose()

    app = FastAPI(title="Passage retriever", lifespan=run, redoc_url=None)
    service = _Service(retriever, limits, manifest, metrics, endpoint)
    app.add_exception_handler(HTTPException, service.refuse)
    app.add_exception_handler(Exception, service.fail)
    _add_endpoints(app, service, limits, is_guarded=token is not None)
    app.add_middleware(_FastPath, endpoint=endpoint)
    if token is not None:  # added last, so that it is asked first
        app.add_middleware(TokenGate, token=token, on_refusal=service.count_unauthorized)
    return app


def _add_endpoints(app: FastAPI, service: "_Service", limits: Limits, is_guarded: bool) -> None:
    app.get("/health", response_model=schema.HealthResponse)(service.health)
    # The gate is what checks the token; the dependency only describes it.
    common: dict[str, Any] = {"dependencies": [Depends(HTTPBearer(auto_error=False))]}
    errors: dict[int | str, dict[str, Any]] = {401: schema.UNAUTHORIZED}
    if not is_guarded:
        common, errors = {}, {}
    app.post(
        PATH,
        response_model=None,
        responses=schema.retrieve_responses(limits) | errors,
        openapi_extra=schema.retrieve_request(limits),
        **common,
    )(service.retrieve)
    app.get(
        "/ready",
        response_model=schema.ReadyResponse,
        responses={503: schema.NOT_READY, **errors},
        **common,
    )(service.ready)
    app.get("/info", response_model=schema.InfoResponse, responses=errors, **common)(service.info)
    app.get("/metrics", response_class=PlainTextResponse, responses=errors, **common)(
        service.metrics
    )


class _FastPath:
    """Hands POST /retrieve to its endpoint past the layers that the others need.

    Those layers take longer than all there is to do for an answer from the cache.
    """

    def __init__(self, app: ASGIApp, endpoint: RetrieveEndpoint) -> None:
        self._app = app
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            response = await self._endpoint.answer(scope, receive)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_search(scope: Scope) -> bool:
    path: str = scope["path"]
    is_retrieve = path.removeprefix(scope.get("root_path", "")) == PATH
    return is_retrieve and scope["method"] == "POST"


class _Service:
    """The endpoints of one app."""

    def __init__(
        self,
        retriever: Retriever,
        limits: Limits,
        manifest: Manifest | None,
        metrics: Metrics,
        endpoint: RetrieveEndpoint,
    ) -> None:
        self._retriever = retriever
        self._limits = limits
        self._manifest = manifest
        self._metrics = metrics
        self._endpoint = endpoint

    async def retrieve(self, request: Request) -> Response:
        """Find the best passages for every query."""
        return await self._endpoint.answer(request.scope, request.receive)

    async def health(self) -> Response:
        """Say that the process lives."""
        return reply({"status": "ok"})

    async def ready(self) -> Response:
        """Say whether searches are answered now, and over what."""
        if not self._endpoint.is_ready:
            return reply_error(503, "not ready; ask again later.", {RETRY_AFTER_HEADER: "1"})
        kind, passages = self._retriever.kind, self._retriever.size
        return reply({"status": "ready", "kind": kind, "passages": passages})

    async def info(self) -> Response:
        """Tell what is served: the index's manifest, the limits, the state of the cache."""
        cache = self._endpoint.cache
        state = {"max_bytes": self._limits.cache_bytes, "bytes": cache.bytes, "entries": len(cache)}
        counts = {"hits": cache.hits, "misses": cache.misses, "evictions": cache.evictions}
        return reply(
            {
                "kind": self._retriever.kind,
                "passages": self._retriever.size,
                "manifest": asdict(self._manifest) if self._manifest else None,
                "limits": asdict(self._limits),
                "cache": state | counts,
            }
        )

    async def metrics(self) -> Response:
        """Give counters for Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def count_unauthorized(self, scope: Scope) -> None:
        """Count a request without the token."""
        self._metrics.count_error("unauthorized", 401 if _is_search(scope) else None)

    async def refuse(self, _request: Request, error: Exception) -> Response:
        """Answer an unknown path or method with one line."""
        if isinstance(error, HTTPException):
            return reply_error(error.status_code, str(error.detail), error.headers)
        return reply_error(500, str(error))

    async def fail(self, request: Request, error: Exception) -> Response:
        """Answer for an error of ours; the traceback goes to the log."""
        self._metrics.count_error("internal", 500 if _is_search(request.scope) else None)
        return reply_error(500, f"the server failed with {type(error).__name__}; see its log.")
