import asyncio
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from search_r1.errors import ToolFailedError
from search_r1.tools.base import ToolLimits
from search_r1.tools.mcp.address import McpAddress
from search_r1.tools.mcp.tool import open_tools
from search_r1.tools.toolbox import ToolBox
from search_r1.types import ToolCall

SCRIPT = Path(__file__).parents[1] / "mcp_script.py"
STDIO = McpAddress(command=(sys.executable, str(SCRIPT)))
NAMES = ["add", "hang", "die", "die_once", "bad", "big", "mixed", "secret", "headers"]


class HttpMcpServer:
    """The script as a process that answers over HTTP, which a test may end and start again."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = McpAddress(url=f"http://127.0.0.1:{self.port}/mcp")
        self.start()

    def start(self):
        command = [sys.executable, str(SCRIPT), str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(400):
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", trust_env=False)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise TimeoutError("the MCP server did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def http_server():
    server = HttpMcpServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stdio_tools():
    tools = open_tools("test", STDIO, None, {}, ToolLimits(timeout_s=60))
    yield tools
    asyncio.run(tools[0].aclose())


@pytest.fixture
def box(stdio_tools):
    return ToolBox(stdio_tools)


async def call(box, name, **arguments):
    (outcome,) = await box.run([ToolCall(name, arguments)], {})
    return outcome


async def test_the_tools_of_a_server_are_ours(box):
    assert box.names == NAMES
    add = box.schemas[0]["function"]
    assert add["description"] == "Add two numbers."
    assert add["parameters"]["properties"]["b"]["default"] == 2
    assert (await call(box, "add", a=1)).text == "3"
    wrong = await call(box, "add", a="x")
    assert wrong.status == "bad_arguments"


async def test_an_error_of_a_tool_is_told(box):
    outcome = await call(box, "bad", word="x")
    assert outcome.status == "tool_error"
    assert "Error executing tool bad" in outcome.text


async def test_what_is_no_text_is_named(box):
    assert (await call(box, "mixed")).text == "look:\n[image]\ninside"


async def test_calls_run_side_by_side_and_a_hanging_one_times_out(stdio_tools):
    add, hang = stdio_tools[:2]
    hang.limits = ToolLimits(timeout_s=0.5)
    calls = [ToolCall("hang", {}), *(ToolCall("add", {"a": i}) for i in range(100))]
    hung, *added = await ToolBox([add, hang]).run(calls, {})
    assert hung.status == "timeout"
    assert [outcome.text for outcome in added] == [str(i + 2) for i in range(100)]


@pytest.mark.slow
async def test_a_server_that_dies_in_a_call_is_called_once_more(box, tmp_path):
    outcome = await call(box, "die_once", marker=str(tmp_path / "marker"))
    assert outcome.text == "alive"
    twice = await call(box, "die")
    assert twice.status == "failed"
    assert twice.is_infrastructure
    assert "the MCP server test" in twice.detail
    assert (await call(box, "add", a=5)).text == "7"


async def test_long_results_do_not_block_the_event_loop(box, is_loop_free):
    outcome = await call(box, "big", n=3_000_000)
    assert outcome.is_truncated
    assert len(outcome.text) < 21_000
    assert is_loop_free() < 2.0


@pytest.mark.slow
async def test_the_environment_is_given_and_not_inherited(monkeypatch):
    monkeypatch.setenv("TOOL_SECRET", "s3cret")
    monkeypatch.setenv("OTHER_SECRET", "other")
    address = McpAddress(command=STDIO.command, env={"TOOL_SECRET": "${TOOL_SECRET}"})
    (tool,) = open_tools("test", address, ["secret"], {"secret": "reveal"}, ToolLimits())
    assert tool.name == tool.schema["name"] == "reveal"
    assert (await tool.call({})).text == "s3cret None"
    assert "s3cret" not in repr(address)
    await tool.aclose()
    await tool.aclose()
    monkeypatch.delenv("TOOL_SECRET")
    with pytest.raises(ValueError, match="TOOL_SECRET, which is not set"):
        open_tools("test", address, None, {}, ToolLimits())


@pytest.mark.slow
async def test_over_http_the_same_holds(http_server, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    box = ToolBox(open_tools("test", http_server.address, None, {}, ToolLimits(timeout_s=60)))
    assert box.names == NAMES
    outcomes = await box.run([ToolCall("add", {"a": i}) for i in range(50)], {})
    assert [outcome.text for outcome in outcomes] == [str(i + 2) for i in range(50)]
    assert (await call(box, "bad", word="x")).status == "tool_error"
    assert len((await call(box, "big", n=2_000_000)).text) < 21_000
    http_server.stop()
    down = await call(box, "add", a=1)
    assert down.status == "failed"
    assert "cannot be reached" in down.detail
    http_server.start()
    assert (await call(box, "add", a=1)).text == "3"
    await box.aclose()


@pytest.mark.slow
async def test_a_server_that_echoes_a_header_shows_no_secret(http_server, monkeypatch):
    monkeypatch.setenv("MCP_TOKEN", "s3cret-token")
    address = replace(http_server.address, headers={"Authorization": "Bearer ${MCP_TOKEN}"})
    box = ToolBox(open_tools("test", address, ["headers", "bad"], {}, ToolLimits(timeout_s=60)))
    assert (await call(box, "headers")).text == "Bearer ***"
    assert "s3cret" not in (await call(box, "bad", word="s3cret-token")).text
    await box.aclose()


def test_a_header_that_cannot_be_sent_is_refused_without_its_value(monkeypatch):
    monkeypatch.setenv("MCP_TOKEN", "s3cret\n")
    headers = {"Authorization": "Bearer ${MCP_TOKEN}"}
    address = McpAddress(url="http://127.0.0.1:9/mcp", headers=headers)
    with pytest.raises(ValueError, match="the header Authorization of the MCP server") as refused:
        open_tools("test", address, None, {}, ToolLimits())
    assert "s3cret" not in str(refused.value)


@pytest.mark.slow
async def test_a_server_that_dies_between_calls_is_opened_again(http_server):
    box = ToolBox(open_tools("test", http_server.address, ["add"], {}, ToolLimits(timeout_s=60)))
    http_server.stop()
    http_server.start()
    assert (await call(box, "add", a=1)).text == "3"
    await box.aclose()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (McpAddress(command=("/no/such/program",)), "cannot be reached: FileNotFoundError"),
        (McpAddress(command=(sys.executable, "-c", "print('hello')")), "cannot be reached"),
        (McpAddress(url="http://127.0.0.1:9/mcp"), "cannot be reached: ConnectError"),
    ],
)
def test_a_server_that_is_none_is_refused_at_the_start(address, message):
    with pytest.raises(ToolFailedError, match=message):
        open_tools("test", address, None, {}, ToolLimits())


@pytest.mark.slow
def test_unknown_tools_of_a_server_are_refused():
    with pytest.raises(ValueError, match=r"has no tool sub; it has add, bad, big"):
        open_tools("test", STDIO, ["add", "sub"], {}, ToolLimits())


@pytest.mark.slow
async def test_a_server_that_comes_back_mute_leaves_nothing_behind(tmp_path):
    marker = tmp_path / "started"
    script = (
        f"import os, sys, time; m = {str(marker)!r}\n"
        f"if os.path.exists(m): time.sleep(1000)\n"
        f"open(m, 'w').close(); os.execv(sys.executable, [sys.executable, {str(SCRIPT)!r}])"
    )
    address = McpAddress(command=(sys.executable, "-c", script))
    box = ToolBox(open_tools("test", address, ["die", "add"], {}, ToolLimits(timeout_s=3)))
    assert (await call(box, "die")).status == "timeout"
    assert (await call(box, "add", a=1)).status == "timeout"
    await box.aclose()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(marker) not in left.stdout


@pytest.mark.slow
def test_a_server_has_one_address():
    for wrong in ({}, {"command": ("x",), "url": "http://x"}):
        with pytest.raises(ValueError, match="expected one of the two"):
            McpAddress(**wrong)


@pytest.mark.slow
async def test_closing_ends_the_process():
    tools = open_tools("test", STDIO, ["add", "hang"], {}, ToolLimits())
    box = ToolBox(tools)
    hanging = asyncio.create_task(box.run([ToolCall("hang", {})], {}))
    await asyncio.sleep(0.2)
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [pid for file in children for pid in file.read_text().split()]
    mine = [pid for pid in pids if str(SCRIPT) in Path(f"/proc/{pid}/cmdline").read_text()]
    await box.aclose()
    (outcome,) = await asyncio.wait_for(hanging, 60)
    assert outcome.status == "failed"
    left = [pid for pid in mine if Path(f"/proc/{pid}").exists()]
    assert len(left) < len(mine)  # the shared one of the other tests goes on
