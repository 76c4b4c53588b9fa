"""Tools to test with: functions of a file, scripted tools, servers on free ports."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.http.request import HttpRequest
from search_r1.tools.http.tool import HttpTool
from search_r1.tools.python.tool import PythonFunctionTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import ToolCall

HERE = Path(__file__).parent
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "tags": {"type": "array"},
        "note": {"type": ["string", "null"]},
    },
    "required": ["city"],
}


class ScriptedTool:
    """Does what it is told; keeps how many of its calls ran at once."""

    def __init__(self, name="echo", action=None, parameters=None, **limits):
        self.name = name
        self.schema = {
            "name": name,
            "description": "A test.",
            "parameters": parameters or {"type": "object", "properties": {"x": {}}},
        }
        self.limits = ToolLimits(**limits)
        self.action = action
        self.busy = self.most_busy = self.calls = 0
        self.is_closed = False

    async def call(self, arguments):
        self.calls += 1
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.action is None:
                return ToolResult(str(arguments.get("x", "")))
            return await self.action(arguments)
        finally:
            self.busy -= 1

    async def aclose(self):
        self.is_closed = True


@pytest.fixture(scope="session")
def tool_of():
    return ScriptedTool


@pytest.fixture(scope="session")
def functions_file():
    return HERE / "tool_functions.py"


@pytest.fixture
async def function_tool(functions_file):
    """Make tools of the functions file; closes them."""
    made = []

    def make(function, *args, limits=None, **options):
        limits = ToolLimits(**(limits or {}))
        made.append(PythonFunctionTool(functions_file, function, *args, limits=limits, **options))
        return made[-1]

    yield make
    for tool in made:
        await tool.aclose()


@pytest.fixture(scope="session")
def run_one():
    """Run one call of one tool; gives its outcome."""

    async def run(tool, arguments=None, used=None):
        (outcome,) = await ToolBox([tool]).run([ToolCall(tool.name, arguments or {})], used or {})
        return outcome

    return run


class ApiServer(ThreadingHTTPServer):
    """Gives the scripted replies in turn, then echoes the request; keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.script = []
        self.seen = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_args):
        """Say nothing of clients that went away."""


class ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": {key.lower(): value for key, value in self.headers.items()},
            "body": json.loads(body) if body else None,
        }
        self.server.seen.append(seen)
        reply = self.server.script.pop(0) if self.server.script else (200, json.dumps(seen), {})
        if isinstance(reply, float):
            time.sleep(reply)
            reply = None
        if reply is None:
            self.close_connection = True
            return
        status, content, headers = reply
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_any  # noqa: N815

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def api():
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def http_tool(api):
    """Make tools of the test API; closes them."""
    made = []

    def make(path="/now", limits=None, **request):
        request = HttpRequest(api.url + path, **request)
        made.append(HttpTool("weather", "A test.", CITY, request, ToolLimits(**(limits or {}))))
        return made[-1]

    yield make
    for tool in made:
        await tool.aclose()


@pytest.fixture
async def is_loop_free():
    """Tell how long the event loop was blocked at most since the test began, in seconds."""
    worst = 0.0

    async def watch():
        nonlocal worst
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.01)
            worst = max(worst, time.perf_counter() - started - 0.01)

    task = asyncio.create_task(watch())
    yield lambda: worst
    task.cancel()
