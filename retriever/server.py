"""Serve an index over HTTP: ``python -m retriever.server --index DIR``."""

import argparse
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from contract import TOKEN_VARIABLE
from retriever.environment import prepare_libraries
from retriever.errors import RetrievalError
from retriever.indexes.kinds import open_retriever
from retriever.options import OpenOptions
from retriever.serving import logs
from retriever.serving.app import make_app
from retriever.serving.limits import Limits
from retriever.storage.manifest import Manifest, read_manifest
from retriever.types import Retriever

__all__ = ["main", "make_app", "read_token", "serve"]

logger = logging.getLogger("retriever.server")  # also when run as __main__

_BACKLOG = 2048  # connections that may wait while the event loop is busy
_MAX_PORT = 65535
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close them, not we
_RERANK_DEPTH = 50
_INDEX_FLAGS = ["encoder", "threads", "device", "nprobe", "ef_search", "refine_factor", "verify"]
_LIMITS = {
    "max_queries": "queries in one request",
    "max_query_chars": "characters in one query",
    "max_top_k": "hits per query",
    "max_hits": "hits in one answer: queries times hits per query",
    "max_body_bytes": "bytes in the body of one request",
    "max_waiting": "queries accepted and not yet answered; requests over it get 503",
    "max_batch": "queries searched together",
    "timeout_s": "seconds from a request's arrival to its answer",
    "cache_bytes": "memory for the answers of earlier queries; 0 keeps none",
}


def serve(app: FastAPI, listener: socket.socket, drain_s: int) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was already asked.

    Args:
        app: The application of ``make_app``.
        listener: Bound socket.
        drain_s: Seconds that the last answers may take.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_s,
    )
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 after a signal, 2 with one line on stderr when it cannot serve."""
    parsed = _parse(arguments)
    logs.configure(parsed.log_format)
    prepare_libraries()
    signal.signal(signal.SIGTERM, _exit_cleanly)
    signal.signal(signal.SIGINT, _exit_cleanly)
    with ExitStack() as stack:
        try:
            app, listener = _prepare(parsed, stack)
        except (RetrievalError, ValueError, OSError, OverflowError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        serve(app, listener, parsed.drain_s)
    return 0


def _prepare(parsed: argparse.Namespace, stack: ExitStack) -> tuple[FastAPI, socket.socket]:
    """Check everything, cheapest first, and give what is to be served and where."""
    _check_flags(parsed)
    if parsed.cache_bytes is None:
        # An online engine keeps its answers itself, for as long as its settings say.
        parsed.cache_bytes = 0 if parsed.online is not None else Limits().cache_bytes
    limits = Limits(**{name: getattr(parsed, name) for name in _LIMITS})
    options = OpenOptions(
        encoder=parsed.encoder,
        threads=parsed.threads,
        is_verified=bool(parsed.verify),
        nprobe=parsed.nprobe,
        ef_search=parsed.ef_search,
        refine_factor=parsed.refine_factor,
        device=parsed.device or "cpu",
    )
    token = read_token(parsed.token_file)
    # The port is taken before the index is loaded, so that a taken one fails at once.
    listener = stack.enter_context(_bind(parsed.host, parsed.port))
    retriever, manifest = _open(parsed, options)
    stack.callback(retriever.close)
    app = make_app(
        retriever, limits, manifest=manifest, token=token, has_access_log=parsed.access_log
    )
    # What is loaded now stays. Left out of garbage collection, it cannot hold up requests.
    gc.collect()
    gc.freeze()
    listener.listen(_BACKLOG)
    host, port = listener.getsockname()[:2]
    size = "unknown" if retriever.size is None else retriever.size
    logger.info("serving %s passages (%s) at http://%s:%d", size, retriever.kind, host, port)
    return app, listener


def _check_flags(parsed: argparse.Namespace) -> None:
    """Refuse what would be ignored, and a port that there is not."""
    if not 0 <= parsed.port <= _MAX_PORT:  # the system would take another one without a word
        raise ValueError(
            f"--port is {parsed.port}; expected 1 to {_MAX_PORT}, or 0 for a free one."
        )
    if parsed.rerank_depth is not None and parsed.reranker is None:
        raise ValueError(
            f"--rerank-depth is {parsed.rerank_depth}, but nothing is reranked; give the folder of "
            "a cross-encoder with --reranker, or leave --rerank-depth out."
        )
    if parsed.online is None:
        return
    for name in _INDEX_FLAGS:
        if name == "threads" and parsed.reranker is not None:
            continue  # they are the reranker's
        value = getattr(parsed, name)
        if value is not None:
            flag = "--" + name.replace("_", "-")
            shown = "given" if value is True else str(value)
            raise ValueError(
                f"{flag} is {shown}, but an online engine has no index that it could apply to; "
                f"leave {flag} out, or serve an index with --index."
            )


def _open(parsed: argparse.Namespace, options: OpenOptions) -> tuple[Retriever, Manifest | None]:
    """Open an index folder or an online engine, with a reranker on top if one is wanted."""
    retriever: Retriever
    manifest = None
    if parsed.online is not None:
        from retriever.indexes.online.engine import open_online

        retriever = open_online(parsed.online)
    else:
        retriever, manifest = open_retriever(parsed.index, options), read_manifest(parsed.index)
    if parsed.reranker is not None:
        from retriever.indexes.rerank import RerankedRetriever

        depth = _RERANK_DEPTH if parsed.rerank_depth is None else parsed.rerank_depth
        retriever = RerankedRetriever(retriever, parsed.reranker, depth, parsed.threads)
    return retriever, manifest


def read_token(path: Path | None) -> str | None:
    """Read the bearer token from a file, or else from the environment; None if it is in neither.

    Raises:
        ValueError: If it is no token.
        OSError: If the file cannot be read.
    """
    source = str(path) if path is not None else TOKEN_VARIABLE
    token = path.read_text(encoding="utf-8") if path is not None else os.environ.get(source)
    if token is None:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(
            f"the token in {source} has {len(token)} characters; expected at least one, printable "
            "ASCII without spaces. Write one with: openssl rand -hex 32"
        )
    return token


def _bind(host: str, port: int) -> socket.socket:
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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--index", type=Path, help="folder made by retriever.build")
    source.add_argument("--online", type=Path, help="settings of an online search engine")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port; 0 takes a free one (default: 8000)")
    add("--token-file", type=Path, help=f"bearer token to ask for (or set {TOKEN_VARIABLE})")
    add("--log-format", choices=logs.FORMATS, default="text", help="lines or JSON objects")
    add("--access-log", action="store_true", help="log a line for every search")
    add("--drain-s", type=int, default=30, help="seconds to answer what is under way at the end")
    group = parser.add_argument_group("searching")
    add = group.add_argument
    add("--encoder", type=Path, help="encoder folder, if it moved since the index was built")
    add("--threads", type=int, help="CPU threads for searching (default: every core)")
    add("--device", help="cpu, cuda, or some GPUs such as cuda:0,1 (default: cpu)")
    add("--nprobe", type=int, help="ivf, ivfpq: cells to look into")
    add("--ef-search", type=int, help="hnsw: candidates to look at")
    add("--refine-factor", type=int, help="ivfpq: candidates to score again, in tens")
    add("--reranker", type=Path, help="folder of a cross-encoder that orders the best hits anew")
    text = f"hits given to the reranker (default: {_RERANK_DEPTH})"
    add("--rerank-depth", type=int, help=text)
    add(
        "--verify",
        action="store_true",
        default=None,
        help="check the checksums of files over 1 GiB too",
    )
    group = parser.add_argument_group("limits; sizes may end in K, M or G")
    for limit in fields(Limits):
        is_cache = limit.name == "cache_bytes"
        text = f"{_LIMITS[limit.name]} (default: {'256M, online 0' if is_cache else limit.default})"
        kind = float if limit.name == "timeout_s" else _read_size
        flag = "--" + limit.name.replace("_", "-")
        group.add_argument(flag, type=kind, default=None if is_cache else limit.default, help=text)
    return parser.parse_args(arguments)


def _read_size(text: str) -> int:
    unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:].upper(), 1)
    return int(text if unit == 1 else text[:-1]) * unit


if __name__ == "__main__":
    sys.exit(main())
