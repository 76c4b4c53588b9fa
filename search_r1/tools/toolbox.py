"""The tools on offer: runs the calls of a turn and turns whatever happens into an outcome.

A call never takes the batch down with it. What the model did wrong becomes a text it reads; what
broke on our side becomes an outcome without a text, and the trajectory ends masked from learning.
"""

from __future__ import annotations

import asyncio
import copy
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import OutcomeStatus, Tool, ToolOutcome, ToolResult
from search_r1.tools.schema import check_schema, describe_parameters, find_mistakes, make_validator
from search_r1.tools.search import SearchTool
from search_r1.types import Passage, ToolCall

_MAX_ERROR_CHARS = 2000


class ToolBox:
    """All tools of a run. One instance serves all trajectories of one event loop.

    Args:
        tools: With distinct names; the box closes them.

    Raises:
        ValueError: If two tools share a name, or a schema is none.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            check_schema(tool.schema)
            if tool.schema["name"] != tool.name:
                raise ValueError(
                    f"tool {tool.name!r} has the schema of {tool.schema['name']!r}; expected the "
                    "same name in both."
                )
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name!r}; rename one of them.")
            self._tools[tool.name] = tool
        self._validators = {
            name: make_validator(name, tool.schema["parameters"])
            for name, tool in self._tools.items()
        }
        self._places = {
            name: asyncio.Semaphore(tool.limits.max_concurrent)
            for name, tool in self._tools.items()
        }
        self._abandoned: set[asyncio.Task[ToolResult]] = set()

    @property
    def names(self) -> list[str]:
        """The names of the tools, in the order given."""
        return list(self._tools)

    @property
    def searches(self) -> frozenset[str]:
        """The names of the tools that ask the retriever."""
        return frozenset(name for name, tool in self._tools.items() if isinstance(tool, SearchTool))

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools as OpenAI's API and chat templates take them."""
        return [
            {"type": "function", "function": dict(tool.schema)} for tool in self._tools.values()
        ]

    async def run(self, calls: Sequence[ToolCall], used: Mapping[str, int]) -> list[ToolOutcome]:
        """Run the calls of one turn side by side.

        Raises nothing but the cancellation of the caller, which also cancels the calls.

        Args:
            calls: As the model wrote them.
            used: Calls per tool that this trajectory has made before; those that were refused
                (unknown tool, bad arguments, call limit) do not count.

        Returns:
            One outcome per call, in the order of the calls.
        """
        counts = Counter(dict(used))
        refusals = [self._refuse(call, counts) for call in calls]
        async with asyncio.TaskGroup() as group:
            tasks = [
                None if refusal else group.create_task(self._run_one(call))
                for call, refusal in zip(calls, refusals, strict=True)
            ]
        return [
            task.result() if task else refusal  # type: ignore[misc]  # one of the two is set
            for task, refusal in zip(tasks, refusals, strict=True)
        ]

    async def aclose(self) -> None:
        """Close all tools, also when closing one of them fails; the first failure is raised."""
        results = await asyncio.gather(
            *(tool.aclose() for tool in self._tools.values()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _refuse(self, call: ToolCall, counts: Counter[str]) -> ToolOutcome | None:
        """Check a call and count it; gives the outcome of one that must not run."""
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join(self._tools) or "none"
            text = f"There is no tool {_shorten(call.name)!r}. The tools are: {names}."
            return _told(call, OutcomeStatus.UNKNOWN_TOOL, text)
        mistakes = find_mistakes(self._validators[tool.name], call.arguments)
        if mistakes:
            parameters = describe_parameters(tool.schema["parameters"])
            text = f"The call of {tool.name} is wrong: {'; '.join(mistakes)}. Its arguments are: "
            return _told(call, OutcomeStatus.BAD_ARGUMENTS, f"{text}{parameters}.")
        limit = tool.limits.max_calls
        if limit is not None and counts[tool.name] >= limit:
            text = f"{tool.name} may be called {limit} times, and that has been done."
            return _told(call, OutcomeStatus.CALL_LIMIT, f"{text} Go on without it.")
        counts[tool.name] += 1
        return None

    async def _run_one(self, call: ToolCall) -> ToolOutcome:
        tool = self._tools[call.name]
        started = time.perf_counter()
        async with self._places[tool.name]:
            try:
                result = await self._result(tool, call.arguments)
                outcome = _fit(call, result, tool.limits.max_result_chars)
            except Exception as error:  # noqa: BLE001 - tools are others' code: they raise anything
                outcome = _classify(tool, call, error)
        return replace(outcome, seconds=time.perf_counter() - started)

    async def _result(self, tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool in a task of its own, which is left behind if it does not heed its end."""
        task = asyncio.create_task(_contain(tool, arguments))
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        try:
            done, _ = await asyncio.wait({task}, timeout=tool.limits.timeout_s)
        finally:
            task.cancel()
        if not done:
            raise TimeoutError(f"{tool.name} gave no result within {tool.limits.timeout_s:g} s")
        if task.cancelled():
            raise ToolFailedError(f"{tool.name} cancelled itself")
        return task.result()

    def _forget(self, task: asyncio.Task[ToolResult]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not log one that came too late


async def _contain(tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
    """Call a tool; what asyncio would let through to the event loop must not end it."""
    try:
        # A copy, because the call as the model wrote it is part of the record.
        result = await tool.call(copy.deepcopy(dict(arguments)))
    except (SystemExit, GeneratorExit, BaseExceptionGroup) as error:
        raise ToolFailedError(f"{tool.name} raised {error!r}") from error
    if not isinstance(result, ToolResult):
        raise ToolFailedError(
            f"{tool.name} returned {type(result).__name__}; a tool's call gives a ToolResult."
        )
    return result


def _classify(tool: Tool, call: ToolCall, error: Exception) -> ToolOutcome:
    """Say what an exception of a tool is: the model's mistake, or a failure of ours."""
    if isinstance(error, ToolError):
        return _told(call, OutcomeStatus.TOOL_ERROR, str(error) or f"{tool.name} refused.")
    status = OutcomeStatus.FAILED
    if isinstance(error, TimeoutError):
        status = OutcomeStatus.TIMEOUT
        detail = told = str(error) or f"{tool.name} gave up waiting"
    elif isinstance(error, ToolFailedError):
        detail, told = str(error), f"{tool.name} failed: {error}"
    else:
        detail = _describe(error)
        told = f"{tool.name} failed: {type(error).__name__}: {_message(error)}"
    if tool.limits.is_failure_told:
        return replace(_told(call, status, told), detail=detail)
    return ToolOutcome(call, status, detail=detail)


def _fit(call: ToolCall, result: ToolResult, max_chars: int) -> ToolOutcome:
    """Cut a result to its limit, so that nobody encodes ten megabytes into tokens."""
    if result.passages is None:
        text, is_cut = _cut(result.text, max_chars)
        return ToolOutcome(call, OutcomeStatus.OK, _clean(text), is_truncated=is_cut)
    passages: list[Passage] = []
    left = max_chars
    for passage in result.passages:
        title, text = _clean(passage.title[:left]), passage.text
        text = _clean(text[: left - len(title)])
        left -= len(title) + len(text)
        passages.append(replace(passage, title=title, text=text))
        if left == 0:
            break
    is_cut = sum(len(p.title) + len(p.text) for p in result.passages) > max_chars
    return ToolOutcome(call, OutcomeStatus.OK, passages=tuple(passages), is_truncated=is_cut)


def _told(call: ToolCall, status: OutcomeStatus, text: str) -> ToolOutcome:
    text, is_cut = _cut(text, _MAX_ERROR_CHARS)
    return ToolOutcome(call, status, _clean(text), is_truncated=is_cut)


def _cut(text: str, max_chars: int) -> tuple[str, bool]:
    if len(text) <= max_chars:
        return text, False
    # Not how long it was: some tools cut it before, so that less of it travels.
    return f"{text[:max_chars]}\n[cut after {max_chars:,} characters]", True


def _clean(text: str) -> str:
    """Replace lone surrogates: JSON can hold them, and no tokenizer takes them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _shorten(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:64]}..."


def _describe(error: BaseException) -> str:
    """Name an unforeseen exception and where it was raised, for people."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {_message(error)}{where}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception of a tool can be as broken as the tool
        return "(it has no message)"
