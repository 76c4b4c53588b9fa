"""Start the servers that are measured, wait until they answer, and stop them by their id."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.retriever.load import HOST
from retriever.environment import SETTINGS
from search_r1.processes.service import free_port

_STOP_S = 20.0
_PEER_START_S = 300.0
_UNSET = (*SETTINGS, "OMP_NUM_THREADS")  # every server runs as its users start it


class ServerDiedError(RuntimeError):
    """A measured server ended, or did not answer in time; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def post(self, body: object, timeout_s: float = 60.0) -> httpx.Response:
        """Send one request and read the answer."""
        url = f"http://{HOST}:{self.port}/retrieve"
        with httpx.Client(trust_env=False, timeout=timeout_s) as client:
            return client.post(url, json=body)

    def memory(self) -> dict[str, float]:
        """Give resident memory in MB: all of it, and what is not mapped from files."""
        shown = psutil.Process(self.pid).memory_info()
        return {"resident_mb": shown.rss / 1e6, "unmapped_mb": (shown.rss - shown.shared) / 1e6}


@contextmanager
def our_server(index: Path, *flags: str, wait_s: float = 120.0) -> Iterator[Server]:
    """Serve an index with ``retriever.server``."""
    port = free_port()
    command = ["-m", "retriever.server", "--index", str(index), "--port", str(port), *flags]
    with running(command, port, "retriever.server", wait_s) as server:
        yield server


@contextmanager
def peer_server(
    checkout: Path, index_file: Path, corpus: Path, encoder: Path, *flags: str
) -> Iterator[Server]:
    """Serve a FAISS file with Search-R1's server from a checkout, on the CPU.

    Args:
        checkout: Of Search-R1.
        index_file: Vectors of the corpus.
        corpus: JSONL file.
        encoder: Encodes the queries.
        flags: Of ``benchmarks.retriever.peer``.
    """
    port = free_port()
    command = ["-m", "benchmarks.retriever.peer", str(checkout), str(port)]
    command += ["--index_path", str(index_file), "--corpus_path", str(corpus), "--topk", "3"]
    command += ["--retriever_name", encoder.name, "--retriever_model", str(encoder), *flags]
    with running(command, port, "Search-R1's server", _PEER_START_S) as server:
        yield server


@contextmanager
def running(
    arguments: Sequence[str], port: int, name: str, wait_s: float = 120.0
) -> Iterator[Server]:
    """Run a Python command until the block ends.

    Raises:
        ServerDiedError: If it does not answer a search in ``wait_s``.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": folder}
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            server = Server(port, process.pid)
            _wait_until_it_answers(server, process, name, log, wait_s)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_it_answers(
    server: Server, process: subprocess.Popen[bytes], name: str, log: Path, wait_s: float
) -> None:
    ends = time.monotonic() + wait_s
    warm_up = {"queries": ["warm up"], "topk": 1, "return_scores": True}
    while process.poll() is None and time.monotonic() < ends:
        try:
            if server.post(warm_up).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    what = f"ended with status {process.returncode}" if process.returncode is not None else "hangs"
    raise ServerDiedError(f"{name} {what}; the end of its log:\n{tail}")
