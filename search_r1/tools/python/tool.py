"""Python functions as tools: ``async`` ones on the event loop, others in processes or threads."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.python.file import bind, load_function, to_result
from search_r1.tools.python.process import FunctionProcess
from search_r1.tools.python.signatures import FunctionArguments
from search_r1.tools.schema import make_schema
from search_r1.tools.threads import start_thread

DEFAULT_PROCESSES = 4
_START_TIMEOUT_S = 120.0
_MAX_HUNG_THREADS = 8


class PythonFunctionTool:
    """A function of a file.

    What the model writes can make any function hang, and one that holds Python's lock while it does
    (``9**9**9``, a regular expression) stops every thread of its process. So a function that is
    not ``async`` runs in worker processes, which are killed when a call times out. With
    ``processes=0`` it runs in threads instead: for functions that wait for something or that
    share state, and that cannot hang; a thread that never returns is left behind.

    Args:
        file: Python file; relative to the working directory.
        function: Name of the function.
        name: What the model calls it; None for the function's name.
        processes: Worker processes, each started when it is first needed; at most so many calls
            run at once. 0 for threads. None for 4, or for the event loop where the function is
            ``async``.
        description: What the model is told of it; None for the docstring.
        parameters: JSON schema of the arguments, which are then passed as they are; None reads the
            annotations.
        limits: What one call may take.

    Raises:
        ValueError: If the file does not import, has no such function, or the function's arguments
            cannot be described.
    """

    def __init__(
        self,
        file: str | Path,
        function: str,
        name: str | None = None,
        *,
        processes: int | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        limits: ToolLimits | None = None,
    ) -> None:
        self._function = load_function(file, function)
        self._arguments = FunctionArguments(self._function) if parameters is None else None
        if description is None:
            description = inspect.getdoc(self._function) or ""
            description = self._arguments.description if self._arguments else description
        if self._arguments is not None:
            parameters = self._arguments.parameters
        self.name = name or function
        self.schema: Mapping[str, Any] = make_schema(self.name, description, parameters or {})
        self.limits = limits or ToolLimits()
        self._timeout_s = self.limits.timeout_s
        self._new_process = partial(
            FunctionProcess,
            Path(file).resolve(),
            function,
            is_converted=self._arguments is not None,
            limits=self.limits,
        )
        self._is_async = _is_async(self._function)
        self._has_processes = not self._is_async and processes != 0
        if self._is_async and processes:
            raise ValueError(
                f"{function} is async and runs on the event loop, but processes is {processes}; "
                "leave processes out, or write a plain function."
            )
        if self._has_processes:
            processes = DEFAULT_PROCESSES if processes is None else processes
            if processes < 0:
                raise ValueError(f"processes is {processes}; expected 0 or more.")
            # Waiting for a process is waiting for a place, which no time-out counts, and starting
            # one is no part of the call: a short time-out would kill every process at its birth.
            self.limits = replace(
                self.limits,
                max_concurrent=min(self.limits.max_concurrent, processes),
                timeout_s=self._timeout_s + _START_TIMEOUT_S,
            )
        self._idle: list[FunctionProcess] = []
        self._hung: list[threading.Thread] = []

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Call the function.

        Raises:
            ToolError: If the function raised it, or a value does not fit its type.
            ToolFailedError: If its process ended, or too many of its threads hang.
        """
        if self._has_processes:
            return await self._call_in_process(arguments)
        given = bind(self._arguments, arguments)
        if self._is_async:
            return to_result(await self._function(**given))
        return await self._call_in_thread(given)

    async def aclose(self) -> None:
        """End the worker processes; threads that hang end with this process."""
        while self._idle:
            self._idle.pop().close()

    async def _call_in_process(self, arguments: Mapping[str, Any]) -> ToolResult:
        process = self._idle.pop() if self._idle else self._new_process()
        try:
            if not process.is_running:
                await asyncio.wrap_future(start_thread(process.start, self.name)[1])
            async with asyncio.timeout(self._timeout_s):
                _, future = start_thread(partial(process.call, arguments), self.name)
                result = await asyncio.wrap_future(future)
        except (ToolError, ToolFailedError):
            self._idle.append(process)
            raise
        except TimeoutError as error:
            process.kill()
            late = f"{self.name} gave no result within {self._timeout_s:g} s"
            raise TimeoutError(late) from error
        except BaseException:  # given up: the call goes on in there
            process.kill()
            raise
        self._idle.append(process)
        return result

    async def _call_in_thread(self, given: dict[str, Any]) -> ToolResult:
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= _MAX_HUNG_THREADS:
            raise ToolFailedError(
                f"{len(self._hung)} calls of {self.name} hang in threads that nothing can end, and "
                "slow this process down; give it processes instead of `processes: 0`."
            )
        thread, future = start_thread(lambda: to_result(self._function(**given)), self.name)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._hung.append(thread)
            raise


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        inspect.unwrap(function)
    )
