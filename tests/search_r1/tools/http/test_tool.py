import asyncio
import json
import socket

import pytest

from search_r1.tools.http.request import HttpRequest
from search_r1.tools.http.tool import HttpTool
from search_r1.tools.templates import find_path
from search_r1.tools.toolbox import ToolBox
from search_r1.types import ToolCall

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


async def test_arguments_are_escaped_in_the_address(api, http_tool, run_one):
    tool = http_tool("/of/{city}/now?q={city}&fixed=1", query={"days": "{days}", "u": "metric"})
    await run_one(tool, {"city": "a/b?c=ü&#{days}", "days": 2})
    escaped = "a%2Fb%3Fc%3D%C3%BC%26%23%7Bdays%7D"
    path, _, query = api.seen[0]["path"].partition("?")
    assert path == f"/of/{escaped}/now"
    assert query.split("&") == [f"q={escaped}", "fixed=1", "days=2", "u=metric"]


async def test_arguments_left_out_are_left_out_of_the_request(api, http_tool, run_one):
    tool = http_tool(
        method="POST",
        query={"days": "{days}", "note": "{note}", "tag": "{tags}"},
        headers={"X-Note": "{note}"},
        body={
            "where": "in {city}",
            "days": "{days}",
            "tags": ["{tags}", 7],
            "deep": {"n": "{note}"},
        },
    )
    await run_one(tool, {"city": "Rome"})
    await run_one(tool, {"city": "Rome", "days": 3, "tags": ["a", 1], "note": None})
    first, second = api.seen
    assert (first["method"], first["path"]) == ("POST", "/now")
    assert "x-note" not in first["headers"]
    assert first["body"] == {"where": "in Rome", "tags": [7], "deep": {}}
    assert second["path"] == "/now?days=3&tag=a&tag=1"
    assert second["body"] == {
        "where": "in Rome",
        "days": 3,
        "tags": [["a", 1], 7],
        "deep": {"n": None},
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.b", "1"),
        ("items.1.t", "two"),
        ("items.*.t", '["one", "two"]'),
        ("items.0", '{"t": "one"}'),
        ("a.c", "null"),
    ],
)
async def test_a_path_picks_from_the_reply(api, http_tool, run_one, path, text):
    reply = {"a": {"b": 1, "c": None}, "items": [{"t": "one"}, {"t": "two"}]}
    api.script = [(200, json.dumps(reply), {})]
    assert (await run_one(http_tool(result_path=path), {"city": "x"})).text == text


@pytest.mark.parametrize("reply", ['{"a": 1}', "<html>", "[]", ""])
async def test_a_reply_without_the_path_is_a_failure(api, http_tool, run_one, reply):
    api.script = [(200, reply, {})]
    outcome = await run_one(http_tool(result_path="b.0"), {"city": "x"})
    assert outcome.status == "failed"
    assert "has no 'b.0'" in outcome.detail


@pytest.mark.parametrize("path", ["b", "a.b.c", "items.x", "items.7", "*"])
def test_a_path_that_leads_nowhere_says_so(path):
    with pytest.raises(LookupError, match="there is nothing at"):
        find_path({"a": {"b": 1}, "items": []}, path)


@pytest.mark.parametrize("status", [429, 502, 503, 504, None])
async def test_what_may_pass_is_tried_again(api, http_tool, run_one, status):
    api.script = [None if status is None else (status, "busy", {"Retry-After": "0"})] * 2
    outcome = await run_one(http_tool(), {"city": "x"})
    assert outcome.status == "ok"
    assert len(api.seen) == 3


async def test_the_last_attempt_is_the_last(api, http_tool, run_one):
    api.script = [(503, "busy", {})] * 5
    outcome = await run_one(http_tool(attempts=2), {"city": "x"})
    assert len(api.seen) == 2
    assert outcome.is_infrastructure
    assert f"GET {api.url}/now answered with status 503: 'busy'" in outcome.detail


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, "tool_error"), (404, "tool_error"), (401, "failed"), (403, "failed"), (302, "failed")],
)
async def test_statuses_are_told_or_are_failures(api, http_tool, run_one, status, expected):
    api.script = [(status, "no such city" * 100, {"Location": "/elsewhere"})]
    outcome = await run_one(http_tool(), {"city": "x"})
    assert outcome.status == expected
    assert len(api.seen) == 1
    assert len(outcome.text) < 400
    assert outcome.is_infrastructure is (expected == "failed")


async def test_which_statuses_are_failures_can_be_chosen(api, http_tool, run_one):
    api.script = [(404, "gone", {}), (401, "who?", {})]
    tool = http_tool(failing_status=(404,))
    assert (await run_one(tool, {"city": "x"})).status == "failed"
    assert (await run_one(tool, {"city": "x"})).status == "tool_error"


async def test_an_api_that_is_down_is_a_failure(run_one):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        tool = HttpTool("weather", "A test.", CITY, HttpRequest(url, attempts=2))
        outcome = await run_one(tool, {"city": "x"})
    await tool.aclose()
    assert outcome.status == "failed"
    assert "failed 2 times (last: ConnectError" in outcome.detail


async def test_an_api_that_hangs_times_out(api, http_tool, run_one):
    api.script = [0.4]
    outcome = await run_one(http_tool(limits={"timeout_s": 0.1}), {"city": "x"})
    assert outcome.status == "timeout"


@pytest.mark.parametrize(
    ("request_of", "city"),
    [
        ({"path": "/{city}"}, ".."),
        ({"path": "/{city}"}, "\ud83d"),
        ({"path": "/{city}"}, "x" * 100_000),
        ({"headers": {"X-City": "{city}"}}, "a\nX-Admin: 1"),
        ({"headers": {"X-City": "{city}"}}, "Zürich"),
        ({"headers": {"X-City": "{city}"}}, "Rome "),
        ({"body": {"c": "{city}"}}, "\ud83d"),
        ({"query": {"c": "{city}"}}, "\ud83d"),
    ],
)
async def test_arguments_that_cannot_be_sent_are_told(api, http_tool, run_one, request_of, city):
    outcome = await run_one(http_tool(**request_of), {"city": city})
    assert outcome.status == "tool_error"
    assert len(outcome.text) < 300
    assert api.seen == []


async def test_ten_megabytes_are_cut_and_more_than_32_refused(api, http_tool, run_one):
    api.script = [(200, b"x" * 10_000_000, {}), (200, b"x" * 34_000_000, {})]
    tool = http_tool()
    outcome = await run_one(tool, {"city": "x"})
    assert outcome.is_truncated
    assert len(outcome.text) < 21_000
    refused = await run_one(tool, {"city": "x"})
    assert refused.status == "failed"
    assert "longer than 33,554,432 bytes" in refused.detail


async def test_bytes_that_are_no_text_are_replaced(api, http_tool, run_one):
    api.script = [
        (200, b"caf\xe9", {}),
        (200, b"caf\xe9", {"Content-Type": "text/plain; charset=latin-1"}),
    ]
    tool = http_tool()
    assert (await run_one(tool, {"city": "x"})).text == "caf\ufffd"
    assert (await run_one(tool, {"city": "x"})).text == "café"


async def test_cookies_and_proxies_are_ignored(api, http_tool, run_one, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    api.script = [(200, "a", {"Set-Cookie": "user=1; Path=/"})]
    tool = http_tool()
    await run_one(tool, {"city": "x"})
    await run_one(tool, {"city": "x"})
    assert "cookie" not in api.seen[1]["headers"]


@pytest.mark.slow
async def test_two_hundred_calls_share_the_pool(http_tool):
    tool = http_tool(query={"c": "{city}"}, result_path="path", limits={"max_concurrent": 20})
    box = ToolBox([tool])
    turns = await asyncio.gather(
        *(box.run([ToolCall("weather", {"city": str(i)})], {}) for i in range(200))
    )
    assert [turn[0].text for turn in turns] == [f"/now?c={i}" for i in range(200)]


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        ({"url": "ftp://x/"}, "expected http://HOST"),
        ({"url": "http://{city}.example/"}, "must not choose the host"),
        ({"url": "http://x/{town}"}, r"uses \{town\}, but its parameters are city, days"),
        ({"url": "http://x/{days}"}, "add it to `required`"),
        ({"url": "http://x/", "body": {"a": ["in {days} days"]}}, "add it to `required`"),
        ({"url": "http://x/", "attempts": 0}, "attempts is 0"),
    ],
)
def test_a_request_that_cannot_work_is_refused(request_of, message):
    with pytest.raises(ValueError, match=message):
        HttpTool("weather", "A test.", CITY, HttpRequest(**request_of))
