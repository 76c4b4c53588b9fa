"""verl's own tool parsers as parsers of rollouts: ``verl:hermes``, ``verl:gpt-oss``, ``verl:glm``.

verl's parsers take token ids, decode them and work on the text. Here they get the text itself,
behind a tokenizer whose ``decode`` gives it back, so that nothing is encoded a second time. A
parser of your own that looks at the ids cannot be used this way.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from search_r1.parsers.base import (
    ExtractedToolCalls,
    StreamDelta,
    ToolCallDelta,
    ToolParser,
    ToolSchema,
)
from search_r1.parsers.calls import dump_arguments
from search_r1.parsers.engines.base import EngineParser
from search_r1.parsers.engines.results import find_markers, judge
from search_r1.parsers.requests import adjust_for_tools, tools_of

T = TypeVar("T")


def adapt(name: str) -> type[ToolParser]:
    """Look up one of the parsers registered with verl's ``ToolParser`` and wrap it.

    Args:
        name: Its name in verl, as ``multi_turn.format`` takes it; ``verl:`` before it is ignored.

    Raises:
        ValueError: If verl is not installed or has no such parser.
    """
    name = name.removeprefix("verl:")
    try:
        from verl.experimental.agent_loop.tool_parser import ToolParser as VerlToolParser
    except ImportError as error:
        raise ValueError(
            f"the parser verl:{name} needs verl, which does not import here ({error}); "
            "install it with make setup, or choose a parser of this project."
        ) from error
    known = VerlToolParser._registry
    if name not in known:
        raise ValueError(f"verl has no tool parser {name!r}; it has {', '.join(sorted(known))}.")
    return type(known[name].__name__, (_VerlParser,), {"engine_class": known[name]})


class _VerlParser(EngineParser):
    """A parser of verl; :func:`adapt` makes a subclass for each.

    Args:
        tokenizer: The model's tokenizer.
        tools: The tools on offer; verl's schema class holds flat parameters only.
        stop: Strings that end a turn, for models that do not end their turns.

    Raises:
        ValueError: If the tokenizer is missing or a tool does not fit verl's schema class.
    """

    engine = "verl"

    def __init__(
        self, tokenizer: Any = None, tools: Sequence[ToolSchema] = (), *, stop: Sequence[str] = ()
    ) -> None:
        super().__init__(tokenizer, tools, stop=stop)
        if tokenizer is None:
            raise ValueError(
                f"verl's {self.engine_class.__name__} is made with the model's tokenizer, "
                "but there was none; pass tokenizer=."
            )
        self._parser = self.engine_class(_TextTokenizer(tokenizer))
        self._call_markers = find_markers(self._parser)
        self.markers = self._call_markers.of_results
        self._verl_tools = _convert_tools(self.tools)
        self._num_streamed = 0
        ids = self._parser.stop_token_ids
        self.stop_token_ids = tuple(i for i in ids if isinstance(i, int) and i >= 0)

    def adjust_request(self, request: Any) -> Any:
        """Keep special tokens, which many formats are made of, and add the stop strings."""
        return adjust_for_tools(request, self.stop, has_special_markers=True)

    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Ask verl's parser; one that raises has read no call, and the log says why."""
        tools = self._verl_tools
        if request is not None:
            tools = _convert_tools(tools_of(request, self.tools))
        try:
            content, found = _finish(self._parser.extract_tool_calls(text, tools))
            calls = [(call.name, call.arguments) for call in found]
        except Exception:  # noqa: BLE001  a registered parser may raise anything, or give anything
            self._log_failure()
            content, calls = text, []
        return judge(text, calls, content, self._call_markers)

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any = None,
    ) -> StreamDelta | None:
        """Read the whole turn so far again: verl's parsers do not stream, so calls come whole.

        Text before the first call is streamed, text behind it is not.
        """
        if not previous_text:
            self._num_streamed = 0
        start, end = (self._call_markers.before(text) for text in (previous_text, current_text))
        calls = self.extract_tool_calls(current_text, request).tool_calls
        pieces = tuple(
            ToolCallDelta(index, call.name, dump_arguments(call.arguments))
            for index, call in enumerate(calls)
            if index >= self._num_streamed
        )
        self._num_streamed += len(pieces)
        return StreamDelta(current_text[start:end], pieces) if end > start or pieces else None


class _TextTokenizer:
    """The model's tokenizer, but text is its ids: decoding gives it back."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, text: str, **_: Any) -> str:
        return text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _convert_tools(tools: Sequence[ToolSchema]) -> list[Any]:
    from pydantic import ValidationError
    from verl.tools.schemas import OpenAIFunctionToolSchema

    converted = []
    for tool in tools:
        function = {"description": "", **tool["function"]}
        try:
            converted.append(OpenAIFunctionToolSchema(type="function", function=function))
        except ValidationError as error:
            raise ValueError(
                f"the tool {function.get('name')!r} does not fit verl's tool schema: {error}. "
                "Use a parser of this project, which takes any JSON schema."
            ) from error
    return converted


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from code that is not async, inside a running event loop or not."""
    return asyncio.run_coroutine_threadsafe(coroutine, _side_loop()).result()


@functools.cache
def _side_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="verl-tool-parsers", daemon=True).start()
    return loop
