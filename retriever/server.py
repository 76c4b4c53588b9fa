"""Serve an index over HTTP: ``python -m retriever.server --index DIR``."""

import argparse
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from retriever.batcher import Batcher, QueueFullError, SearchFailedError
from retriever.errors import RetrievalError
from retriever.kinds import open_retriever
from retriever.metrics import Metrics
from retriever.options import OpenOptions
from retriever.schema import (
    DEFAULT_TOP_K,
    ErrorResponse,
    Limits,
    RetrieveRequest,
    RetrieveResponse,
    find_violation,
    result_row,
)
from retriever.types import Retriever

logger = logging.getLogger(__name__)

_BACKLOG = 2048  # connections that may wait while the event loop is busy
_RETRY_HEADERS = {"Retry-After": "1"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The body is not JSON in UTF-8."},
    422: {"model": ErrorResponse, "description": "The request is malformed or over a limit."},
    500: {"model": ErrorResponse, "description": "The search failed."},
    503: {"model": ErrorResponse, "description": "Too many requests wait; see Retry-After."},
}


def make_app(retriever: Retriever, limits: Limits | None = None) -> FastAPI:
    """Make the web application for one opened index.

    The application does not close the retriever; whoever opened it does.

    Args:
        retriever: Called from one thread at a time.
        limits: What a request may ask for.
    """
    service = _Service(retriever, limits or Limits())
    app = FastAPI(title="Passage retriever", lifespan=service.run, redoc_url=None)
    app.add_exception_handler(RequestValidationError, service.refuse)
    app.add_exception_handler(HTTPException, service.refuse)
    app.add_exception_handler(Exception, service.fail)
    app.post("/retrieve", response_model=RetrieveResponse, responses=_ERRORS)(service.retrieve)
    app.get("/health")(service.health)
    app.get("/ready", responses={503: {"model": ErrorResponse}})(service.ready)
    app.get("/metrics", response_class=Response)(service.metrics)
    return app


class _Service:
    """The endpoints of one app and what they share."""

    def __init__(self, retriever: Retriever, limits: Limits) -> None:
        self._retriever = retriever
        self._limits = limits
        self._metrics = Metrics()
        self._batcher: Batcher | None = None

    @asynccontextmanager
    async def run(self, _app: FastAPI) -> AsyncIterator[None]:
        """Accept searches while the app runs, and answer the last ones when it stops."""
        batcher = Batcher(self._retriever, self._limits.max_waiting, self._limits.max_batch)
        self._metrics.observe_queue(batcher)
        self._batcher = batcher
        try:
            yield
        finally:
            self._batcher = None
            await batcher.aclose()

    async def retrieve(self, body: RetrieveRequest) -> Response:
        """Find the best passages for every query."""
        started = time.perf_counter()
        response = await self._answer(body)
        seconds = time.perf_counter() - started
        self._metrics.count(response.status_code, len(body.queries), seconds)
        return response

    async def _answer(self, body: RetrieveRequest) -> Response:
        violation = find_violation(body, self._limits)
        if violation is not None:
            return _error(422, violation)
        if self._batcher is None:
            return _error(503, "the server is stopping; ask again later.", _RETRY_HEADERS)
        try:
            hits = await self._batcher.search(body.queries, body.topk or DEFAULT_TOP_K)
        except QueueFullError:
            waiting = f"{self._limits.max_waiting} requests already wait; ask again later."
            return _error(503, waiting, _RETRY_HEADERS)
        except SearchFailedError as error:
            logger.error("a search failed", exc_info=error.__cause__)
            return _error(500, f"the search failed with {error}; see the server's log.")
        return _json({"result": [result_row(found, body.return_scores) for found in hits]})

    async def health(self) -> Response:
        """Say that the process lives."""
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        """Say whether searches are answered now, and over what."""
        if self._batcher is None or self._batcher.waiting >= self._limits.max_waiting:
            return _error(503, "not ready; ask again later.", _RETRY_HEADERS)
        kind, passages = self._retriever.kind, self._retriever.size
        return _json({"status": "ready", "kind": kind, "passages": passages})

    async def metrics(self) -> Response:
        """Give counters for Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer a request that cannot be understood with one line."""
        status, message = 422, str(error)
        if isinstance(error, RequestValidationError):
            message = _describe(error)
        elif isinstance(error, HTTPException):
            status, message = error.status_code, str(error.detail)
        if request.url.path == "/retrieve":
            self._metrics.count(status)
        return _error(status, message)

    async def fail(self, _request: Request, error: Exception) -> Response:
        """Answer for an error of ours; the traceback goes to the log."""
        self._metrics.count(500)
        return _error(500, f"the server failed with {type(error).__name__}; see its log.")


def _json(row: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(row), status, headers, "application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": message}, status, headers)


def _describe(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    found = ascii(first.get("input"))  # a lone surrogate cannot be sent back as it is
    shown = found if len(found) <= 80 else found[:77] + "..."
    return f"{place}: {first['msg']}; got {shown}. See /docs for the shape."


def serve(retriever: Retriever, listener: socket.socket, limits: Limits | None = None) -> None:
    """Serve until SIGTERM or SIGINT, answering what was already asked."""
    config = uvicorn.Config(
        make_app(retriever, limits),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 after a signal, 2 with one line on stderr when it cannot serve."""
    parsed = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logger.setLevel(logging.INFO)
    # Idle OpenMP threads must sleep, not spin: next to a busy trainer, spinning makes a lone dense
    # query ten times slower. Read when torch or FAISS is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _exit_cleanly)
    signal.signal(signal.SIGINT, _exit_cleanly)
    try:
        options = OpenOptions(parsed.encoder, parsed.threads, parsed.verify)
        listener = _bind(parsed.host, parsed.port)
    except (ValueError, OSError, OverflowError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    with listener:
        try:
            retriever = open_retriever(parsed.index, options)
            listener.listen(_BACKLOG)
        except (RetrievalError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        host, port = listener.getsockname()[:2]
        kind, size = retriever.kind, retriever.size
        logger.info("serving %d passages (%s) at http://%s:%d", size, kind, host, port)
        with closing(retriever):
            serve(retriever, listener)
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """Take the port before the index is loaded, so that a taken one fails at once."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}:{port} ({error.strerror}); "
            "stop what uses it, or choose another --port."
        ) from error
    return listener


def _exit_cleanly(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retriever.server", description=__doc__)
    add = parser.add_argument
    add("--index", type=Path, required=True, help="folder made by retriever.build")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port; 0 takes a free one (default: 8000)")
    add("--encoder", type=Path, help="encoder folder, if it moved since the index was built")
    add("--threads", type=int, help="CPU threads for searching (default: every core)")
    add("--verify", action="store_true", help="check the checksums of files over 1 GiB too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
