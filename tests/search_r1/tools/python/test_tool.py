import asyncio
import os

import pytest

from search_r1.tools.base import OutcomeStatus, ToolLimits
from search_r1.tools.python.tool import PythonFunctionTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Passage, ToolCall

EVERYTHING = {
    "text": "t",
    "number": 1,
    "flag": True,
    "names": [],
    "table": {},
    "mode": "fast",
    "unit": "ft",
    "point": {"x": 1.5},
    "options": {"digits": 3},
}


@pytest.fixture(params=[1, 0], ids=["process", "thread"])
def place(request):
    """Where plain functions run."""
    return {"processes": request.param}


@pytest.mark.slow
async def test_a_function_is_called_with_what_its_types_say(function_tool, run_one, place):
    outcome = await run_one(function_tool("everything", **place), EVERYTHING)
    assert outcome.text == "FOOT 1.5 3 None x <class 'str'>"
    tool = function_tool("add", "sum", **place)
    assert (tool.name, tool.schema["name"]) == ("sum", "sum")
    assert (await run_one(tool, {"a": 3})).text == "5"
    assert (await run_one(function_tool("decorated", **place), {"a": 3})).text == "traced 3"


@pytest.mark.slow
async def test_results_become_text(function_tool, run_one, place):
    assert (
        await run_one(function_tool("record", **place))
    ).text == '{"name": "Zoë", "size": [1, 2]}'
    assert (await run_one(function_tool("surrogate", **place))).text == "a?"
    found = await run_one(function_tool("find", **place), {"query": "q"})
    assert found.passages == (Passage("1", "T", "qqq", 0.5),)


@pytest.mark.parametrize(
    ("function", "arguments", "status", "said"),
    [
        ("refuse", {"reason": "r"}, "tool_error", "cannot: r"),
        ("positive", {"n": 0}, "bad_arguments", 'argument "n" is 0; expected exclusiveMinimum 0'),
        ("fail", {}, "failed", "the database is down"),
        ("crash", {}, "failed", "ZeroDivisionError: division by zero"),
        ("stop", {}, "failed", "StopIteration"),
    ],
)
async def test_what_a_function_raises_is_told_or_kept(
    function_tool, run_one, place, function, arguments, status, said
):
    outcome = await run_one(function_tool(function, **place), arguments)
    assert outcome.status == status
    assert said in (outcome.detail if outcome.is_infrastructure else outcome.text)


async def test_async_functions_run_on_the_event_loop(function_tool, run_one):
    calls = [ToolCall("meet", {"callers": 5})] * 5
    outcomes = await ToolBox([function_tool("meet")]).run(calls, {})
    assert {outcome.text for outcome in outcomes} == {"met"}
    assert (await run_one(function_tool("leave"))).detail == "leave raised SystemExit(3)"
    stubborn = await run_one(function_tool("stubborn", limits={"timeout_s": 0.05}))
    assert stubborn.status is OutcomeStatus.TIMEOUT
    with pytest.raises(ValueError, match="wait is async and runs on the event loop"):
        function_tool("wait", processes=2)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["spin", "hold"])
async def test_a_process_that_hangs_is_killed_and_replaced(
    function_tool, run_one, is_loop_free, functions_file, function
):
    hanging = function_tool(function, processes=1, limits={"timeout_s": 0.3})
    other = function_tool("add", processes=1)
    box = ToolBox([hanging, other])
    first, added = await box.run([ToolCall(function, {}), ToolCall("add", {"a": 1})], {})
    assert first.status is OutcomeStatus.TIMEOUT
    assert added.text == "3"
    (again,) = await box.run([ToolCall(function, {})], {})
    assert again.status is OutcomeStatus.TIMEOUT
    assert is_loop_free() < 30  # nothing held the event loop, not even the lock of Python
    assert hanging._idle == []


@pytest.mark.slow
async def test_starting_a_process_is_no_part_of_the_call(run_one, tmp_path):
    file = tmp_path / "slow_import.py"
    file.write_text("import time\ntime.sleep(4)\ndef f() -> str:\n    'Do.'\n    return 'x'\n")
    tool = PythonFunctionTool(file, "f", limits=ToolLimits(timeout_s=3))
    assert (await run_one(tool)).text == "x"
    await tool.aclose()


async def test_a_process_that_does_not_start_is_a_failure(run_one, tmp_path):
    file = tmp_path / "once.py"
    file.write_text("def f() -> str:\n    'Do.'\n    return 'x'\n")
    tool = PythonFunctionTool(file, "f")
    file.write_text("raise SystemExit(5)\n")
    outcome = await run_one(tool)
    assert outcome.detail.startswith("the process of f ended with exit status 5")
    await tool.aclose()


@pytest.mark.slow
async def test_a_process_that_dies_is_a_failure_and_is_replaced(function_tool, run_one, tmp_path):
    outcome = await run_one(function_tool("die", processes=1))
    assert outcome.status is OutcomeStatus.FAILED
    assert "the process of die ended with exit status 7" in outcome.detail
    tool = function_tool("pause", processes=1)
    first = (await run_one(tool, {"seconds": 0})).text
    assert (await run_one(tool, {"seconds": 0})).text == first != f"paused in {os.getpid()}"
    tool._idle[0]._process.kill()  # as the kernel does when memory runs out
    tool._idle[0]._process.wait()
    second = await run_one(tool, {"seconds": 0})
    assert second.status is OutcomeStatus.OK
    assert second.text != first


async def test_calls_wait_for_a_process_without_timing_out(function_tool):
    tool = function_tool("pause", processes=2, limits={"timeout_s": 2.0})
    outcomes = await ToolBox([tool]).run([ToolCall("pause", {"seconds": 0.6})] * 8, {})
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.OK}
    assert len({outcome.text for outcome in outcomes}) == 2


async def test_what_a_function_prints_does_not_disturb_its_results(function_tool, run_one):
    outcome = await run_one(function_tool("shout", processes=1), {"text": '{"text": "no"}\n'})
    assert outcome.text == '{"TEXT": "NO"}\n'


async def test_ten_megabytes_are_cut_before_they_travel(function_tool, run_one, place):
    tool = function_tool("big", **place, limits={"max_result_chars": 50})
    outcome = await run_one(tool, {"n": 10_000_000})
    assert outcome.is_truncated
    assert outcome.text == "x" * 50 + "\n[cut after 50 characters]"


async def test_threads_that_hang_hold_up_nobody(function_tool, run_one, tmp_path):
    limits = {"timeout_s": 0.05, "max_concurrent": 4}
    slow = function_tool("wait_for_file", processes=0, limits=limits)
    fast = function_tool("add", processes=0)
    box = ToolBox([slow, fast])
    calls = [ToolCall("wait_for_file", {"path": str(tmp_path / "file")})] * 8
    *hung, added = await box.run([*calls, ToolCall("add", {"a": 1})], {})
    assert {outcome.status for outcome in hung} == {OutcomeStatus.TIMEOUT}
    assert added.text == "3"
    (refused,) = await box.run(calls[:1], {})
    assert refused.status is OutcomeStatus.FAILED
    assert "8 calls of wait_for_file hang in threads" in refused.detail
    (tmp_path / "file").touch()
    while (await run_one(slow, {"path": str(tmp_path / "file")})).status is not OutcomeStatus.OK:
        await asyncio.sleep(0.05)


async def test_given_parameters_pass_values_as_they_are(function_tool, run_one, place):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = function_tool("untyped", description="Odd.", parameters=schema, **place)
    assert tool.schema["description"] == "Odd."
    assert (await run_one(tool, {"a": 5})).text == "1"


@pytest.mark.parametrize(
    ("file", "function", "message"),
    [
        ("tool_functions.py", "nothing", r"has no function 'nothing'; it has .*add, big"),
        ("tool_functions.py", "VALUE", "has no function 'VALUE'"),
        ("tool_functions.py", "untyped", "parameter 'a' of untyped has no type"),
        ("tool_functions.py", "undocumented", "tool 'undocumented' has no description"),
        ("missing.py", "f", "there is no Python file .*missing.py"),
        ("broken.py", "f", "broken.py does not import: line .*: SyntaxError"),
        ("raises.py", "f", "raises.py does not import: line 1: ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(functions_file, tmp_path, file, function, message):
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    folder = functions_file.parent if file == functions_file.name else tmp_path
    with pytest.raises(ValueError, match=message):
        PythonFunctionTool(folder / file, function)


def test_negative_processes_are_refused(functions_file):
    with pytest.raises(ValueError, match="processes is -1; expected 0 or more"):
        PythonFunctionTool(functions_file, "add", processes=-1)


async def test_closing_ends_the_processes(functions_file, run_one):
    tool = PythonFunctionTool(functions_file, "pause", processes=1)
    await run_one(tool, {"seconds": 0})
    process = tool._idle[0]._process
    await tool.aclose()
    assert process.returncode is not None
