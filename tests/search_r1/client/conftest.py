"""A real HTTP server that misbehaves as scripted, and both clients behind one async face."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from search_r1.client import SearchClient, SearchClientConfig, SyncSearchClient

ROW = {"document": {"id": "7", "title": "T", "text": "x", "contents": '"T"\nx'}, "score": 0.5}


class FlakyServer(ThreadingHTTPServer):
    """Gives the scripted answers in turn, then its usual one; keeps what it was asked.

    Asked whether it is ready, it gives those of ``readiness`` (status, content) and then says yes.

    An answer is None (hits), seconds to wait before the hits, "drop" (close the connection without
    an answer), "trickle" (a byte now and then), or (status, content, headers).
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), FlakyHandler)
        self.script = []
        self.readiness = []
        self.usual = None
        self.bodies = []
        self.headers = []
        self.connections = 0
        self.delay_s = 0.0
        self.lock = threading.Lock()
        self.busy = self.most_busy = 0
        self.open_sockets = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def die(self):
        """Stop as a killed process does: connections break, new ones are refused."""
        self.shutdown()
        self.server_close()
        for connection in list(self.open_sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_args):
        """Say nothing of clients that went away: that is what some tests do."""


class FlakyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.server.open_sockets.add(self.connection)

    def finish(self):
        self.server.open_sockets.discard(self.connection)
        super().finish()

    def do_GET(self):
        script = self.server.readiness
        status, content = script.pop(0) if script else (200, '{"status": "ready"}')
        self.reply(status, content, {})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            answer = server.script.pop(0) if server.script else server.usual
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        if isinstance(answer, float):
            time.sleep(answer)
            answer = None
        time.sleep(server.delay_s)
        with server.lock:
            server.busy -= 1
        hits = json.dumps({"result": [[ROW] for _ in body["queries"]]})
        if answer == "drop":
            self.close_connection = True
        elif answer == "trickle":
            self.trickle(hits)
        else:
            status, content, headers = answer or (200, hits, {})
            self.reply(status, content, headers)

    def reply(self, status, content, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content.encode())), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content.encode())

    def trickle(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for letter in content:
            self.wfile.write(letter.encode())
            time.sleep(1)

    def log_message(self, *_args):
        pass


class InThreads:
    """The sync client, each search in a thread of its own."""

    def __init__(self, config):
        self._client = SyncSearchClient(config)
        self._threads = ThreadPoolExecutor(256)

    @property
    def counters(self):
        return self._client.counters

    async def search(self, queries, top_k):
        return await self._call(self._client.search, queries, top_k)

    async def wait_ready(self, timeout_s):
        await self._call(self._client.wait_ready, timeout_s)

    async def aclose(self):
        await self._call(self._client.close)

    def _call(self, function, *arguments):
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


@pytest.fixture
def start_flaky():
    """Start servers that are gone when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(port=0):
            server = FlakyServer(port)
            stack.callback(server.die)
            return server

        yield start


@pytest.fixture
def flaky(start_flaky):
    return start_flaky()


@pytest.fixture(params=[SearchClient, InThreads], ids=["async", "sync"])
async def client_to(request):
    """Make a client of one server or several (servers or urls); either kind behaves alike."""
    clients = []

    def make(*servers, **settings):
        urls = [getattr(server, "url", server) for server in servers]
        defaults = {"backoff_s": 0.01, "timeout_s": 60.0, "deadline_s": 100.0}
        config = SearchClientConfig(urls, **defaults | settings)
        clients.append(request.param(config))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
