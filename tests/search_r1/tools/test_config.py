import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search_r1.errors import ToolFailedError
from search_r1.tools.config import build_toolbox
from search_r1.types import Passage, ToolCall

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs" / "tool-calling.md"
CALC = {"type": "python_function", "file": str(HERE / "tool_functions.py"), "function": "add"}
HTTP = {
    "type": "http",
    "url": "http://127.0.0.1:9/{city}",
    "description": "A test.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


async def test_every_kind_is_built_from_plain_yaml(searcher_of, api):
    text = f"""
tools:
  search: {{type: search, top_k: 2, max_calls: 1}}
  calc:
    type: python_function
    file: {HERE / "tool_functions.py"}
    function: add
    timeout_s: 5
    is_failure_told: true
  weather:
    type: http
    method: POST
    url: {api.url}/v1
    body: {{place: "{{city}}"}}
    result_path: body.place
    description: The weather of a city.
    parameters:
      type: object
      properties: {{city: {{type: string}}}}
      required: [city]
"""
    box = build_toolbox(yaml.safe_load(text), searcher_of([Passage("1", "T", "x")] * 3))
    assert box.names == ["search", "calc", "weather"]
    calls = [
        ToolCall("search", {"query": "q"}),
        ToolCall("calc", {"a": 1}),
        ToolCall("weather", {"city": "Rome"}),
        ToolCall("search", {"query": "q"}),
    ]
    found, added, weather, refused = await box.run(calls, {})
    assert len(found.passages) == 2
    assert (added.text, weather.text) == ("3", "Rome")
    assert refused.status == "call_limit"
    limits = box._tools["calc"].limits
    assert limits.is_failure_told
    assert limits.max_concurrent == 4
    await box.aclose()


@pytest.mark.slow
async def test_an_mcp_server_gives_its_tools():
    command = [sys.executable, str(HERE / "mcp_script.py")]
    server = {"type": "mcp", "command": command, "tools": ["add"], "rename": {"add": "sum"}}
    box = build_toolbox({"tools": {"server": {**server, "max_calls": 1}, "calc": CALC}})
    assert box.names == ["sum", "calc"]
    first, second = await box.run([ToolCall("sum", {"a": 1})] * 2, {})
    assert (first.text, second.status) == ("3", "call_limit")
    await box.aclose()
    with pytest.raises(ValueError, match="two tools are named 'calc'"):
        build_toolbox({"tools": {"s": {**server, "rename": {"add": "calc"}}, "calc": CALC}})


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ({"a": {"type": "serach"}}, "tools.a.type is 'serach'; known are http, mcp, python_funct"),
        ({"a": {}}, "tools.a.type is None; known are"),
        ({"a": None}, "tools.a is None; expected a mapping with a type"),
        (["a"], "tools is ['a']; expected a mapping"),
        ({"a": {"type": "search", "topk": 3}}, "tools.a has the unknown key topk; known are desc"),
        ({"a": {"type": "search", "top_k": "x"}}, "tools.a.top_k is 'x': Input should be a valid"),
        ({"a": {"type": "search", "top_k": 0}}, "top_k is 0; it must be at least 1"),
        ({"a": {"type": "search", "timeout_s": -1}}, "tools.a: timeout_s is -1.0; expected more"),
        ({"a": {"type": "search", "max_concurrent": 1.5}}, "tools.a.max_concurrent is 1.5: Input"),
        ({"a": {"type": "python_function", "file": "x.py"}}, "tools.a.function is missing; it mu"),
        ({"a": {**CALC, "file": "nowhere.py"}}, "there is no Python file"),
        ({"a b": CALC}, "tool's name is 'a b'"),
        ({"a": {**HTTP, "method": "FETCH"}}, "tools.a.method is 'FETCH': Input should be 'GET'"),
        ({"a": {**HTTP, "url": "x"}}, "tools.a: url is 'x'; expected http://HOST"),
        ({"a": {**HTTP, "query": {"x": "{y}"}}}, "tool 'a' uses {y}, but its parameters are city"),
        ({"a": {**HTTP, "parameters": {"type": "strng"}}}, "the parameters of tool 'a' are"),
        ({"a": {"type": "mcp"}}, "expected one of the two"),
    ],
)
def test_a_section_that_is_wrong_says_where_and_what_there_is(searcher_of, tools, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_toolbox({"tools": tools}, searcher_of())


def test_other_keys_beside_tools_are_refused():
    with pytest.raises(ValueError, match="has the unknown key tool; known are tools"):
        build_toolbox({"tool": {}})


def test_search_needs_a_retriever():
    with pytest.raises(ValueError, match=r"tools.a has the type search, but there is no retriev"):
        build_toolbox({"tools": {"a": {"type": "search"}}})


def test_an_mcp_server_that_is_not_there_is_refused():
    with pytest.raises(ToolFailedError, match="the MCP server a does not list its tools"):
        build_toolbox({"tools": {"a": {"type": "mcp", "command": ["/no/such/program"]}}})


def test_no_tools_make_an_empty_box():
    assert build_toolbox({}).names == []
    assert build_toolbox({"tools": None}).names == []


def test_building_tools_imports_no_engine():
    code = (
        "import sys, search_r1.tools.config; "
        "sys.exit(bool({'torch', 'verl', 'vllm', 'transformers', 'mcp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def documented(kind, language="yaml"):
    """Give the first example of the documentation that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if kind in block)


async def test_documented_tools_work(searcher_of, api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEATHER_TOKEN", "s3cret")
    Path("my_tools.py").write_text(documented("def calculate", "python"))
    api.script = [(200, '{"forecast": [{"summary": "sun"}, {"summary": "rain"}]}', {})]
    kinds = ("type: search", "type: python_function", "type: http")
    config = {"tools": {}}
    for kind in kinds:
        text = documented(kind).replace("https://api.example.org", api.url)
        config["tools"] |= yaml.safe_load(text)["tools"]
    box = build_toolbox(config, searcher_of([Passage("1", "T", "x")]))
    calls = [
        ToolCall("search", {"query": "q"}),
        ToolCall("calculate", {"a": 6, "b": 7, "operation": "*"}),
        ToolCall("weather", {"city": "Rome", "days": 2}),
    ]
    found, product, weather = await box.run(calls, {})
    assert len(found.passages) == 1
    assert product.text == "42.0"
    assert weather.text == '["sun", "rain"]'
    assert api.seen[0]["path"] == "/v1/cities/Rome/forecast?days=2&units=metric"
    await box.aclose()


@pytest.mark.slow
async def test_documented_mcp_server_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_mcp_server.py").write_text(
        "from mcp.server.mcpserver import MCPServer\n"
        "server = MCPServer('files')\n"
        "@server.tool()\n"
        "def read_file(path: str) -> str:\n"
        "    'Read a file.'\n"
        "    return 'contents'\n"
        "server.run()\n"
    )
    config = yaml.safe_load(documented("type: mcp"))
    config["tools"]["files"]["command"][0] = sys.executable
    box = build_toolbox(config)
    (outcome,) = await box.run([ToolCall("open", {"path": "a"})], {})
    assert outcome.text == "contents"
    await box.aclose()
