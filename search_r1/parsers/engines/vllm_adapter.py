"""Every tool parser of the installed vLLM as a parser of rollouts: ``vllm:hermes``, ``vllm:xlam``.

vLLM's parsers say which calls they read, not that one was broken; :mod:`results` says when
that shows. They know no stop strings either: a turn ends with the model's end-of-turn token, or at
the strings given as the option ``stop``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from search_r1.parsers.base import (
    ExtractedToolCalls,
    StreamDelta,
    ToolCallDelta,
    ToolParser,
    ToolSchema,
)
from search_r1.parsers.engines.base import EngineParser
from search_r1.parsers.engines.results import find_markers, judge
from search_r1.parsers.engines.vllm_old_paths import old_import_paths
from search_r1.parsers.requests import adjust_for_tools

__all__ = ["adapt", "adapt_class", "old_import_paths"]

_UNSUITABLE = {
    "openai": "gpt-oss writes harmony messages, which vLLM reads from token ids in its server, "
    "not in this parser; use verl:gpt-oss"
}


def adapt(name: str) -> type[ToolParser]:
    """Look up one of vLLM's tool parsers and wrap it.

    Args:
        name: Its name in vLLM, as ``--tool-call-parser`` takes it; ``vllm:`` before it is ignored.

    Raises:
        ValueError: If vLLM is not installed, has no such parser, or cannot use it here.
    """
    name = name.removeprefix("vllm:")
    try:
        from vllm.tool_parsers import ToolParserManager
    except ImportError as error:
        raise ValueError(
            f"the parser vllm:{name} needs vLLM, which does not import here ({error}); "
            "install it with make setup, or choose a parser of this project."
        ) from error
    known = ToolParserManager.list_registered()
    if name not in known:
        raise ValueError(f"vLLM has no tool parser {name!r}; it has {', '.join(known)}.")
    if name in _UNSUITABLE:
        raise ValueError(f"vllm:{name} cannot be used in a rollout: {_UNSUITABLE[name]}.")
    try:
        return adapt_class(ToolParserManager.get_tool_parser(name))
    except ImportError as error:
        raise ValueError(f"vLLM cannot import its tool parser {name!r}: {error}") from error


def adapt_class(vllm_class: type[Any]) -> type[ToolParser]:
    """Wrap a subclass of vLLM's ``ToolParser``, such as one registered by a plugin file."""
    takes_tools = _accepts(vllm_class, 2)  # plugins of older vLLM take the tokenizer alone
    namespace = {"engine_class": vllm_class, "takes_tools": takes_tools}
    return type(vllm_class.__name__, (_VllmParser,), namespace)


class _VllmParser(EngineParser):
    """A parser of vLLM; :func:`adapt_class` makes a subclass for each.

    Args:
        tokenizer: The model's tokenizer; most of vLLM's parsers need it.
        tools: The tools on offer.
        stop: Strings that end a turn, for models that do not end their turns.

    Raises:
        ValueError: If vLLM's parser cannot be made with this tokenizer.
    """

    engine = "vLLM"
    takes_tools: bool

    def __init__(
        self, tokenizer: Any = None, tools: Sequence[ToolSchema] = (), *, stop: Sequence[str] = ()
    ) -> None:
        super().__init__(tokenizer, tools, stop=stop)
        self._cached_tokenizer = _cache_vocabulary(tokenizer)
        self._request = _make_request(self.tools)
        try:
            self._streaming = self._new(self._request)
            # Some find out only here that vLLM was built without what they need.
            self._streaming.adjust_request(self._request.model_copy())
        except Exception as error:
            raise ValueError(
                f"vLLM's {self.engine_class.__name__} cannot be made with "
                f"{type(tokenizer).__name__}: {error}. Pass the tokenizer of a model that was "
                "trained with this format."
            ) from error
        self._call_markers = find_markers(self._streaming)
        self.markers = self._call_markers.of_results

    def adjust_request(self, request: Any) -> Any:
        """Let vLLM's parser change the request, and add the stop strings."""
        request = self._new(request).adjust_request(request)
        return adjust_for_tools(request, self.stop, has_special_markers=False)

    def extract_tool_calls(self, text: str, request: Any = None) -> ExtractedToolCalls:
        """Ask a fresh parser of vLLM; one that raises has read no call, and the log says why."""
        request = request or self._request
        try:
            found = self._new(request).extract_tool_calls(text, request)
            content = found.content or ""
            calls = [
                (call.function.name, call.function.arguments)
                for call in (found.tool_calls if found.tools_called else ())
            ]
        except Exception:  # noqa: BLE001  a plugin's parser may raise anything, or give anything
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
        """Hand the piece to vLLM's parser; what it streams is its own affair.

        vLLM does not promise that the pieces add up to what it says of the whole turn.
        """
        request = request or self._request
        if not previous_text:
            self._streaming = self._new(request)
        try:
            delta = self._streaming.extract_tool_calls_streaming(
                previous_text,
                current_text,
                delta_text,
                previous_token_ids,
                current_token_ids,
                delta_token_ids,
                request,
            )
            return _convert_delta(delta)
        except Exception:  # noqa: BLE001  a plugin's parser may raise anything, or give anything
            self._log_failure()
            return None

    def _new(self, request: Any) -> Any:
        """Make vLLM's parser, with the tools where its constructor takes them."""
        if self.takes_tools:
            return self.engine_class(self._cached_tokenizer, request.tools)
        return self.engine_class(self._cached_tokenizer)


def _accepts(parser_class: type[Any], count: int) -> bool:
    """Tell whether a constructor takes this many arguments."""
    try:
        inspect.signature(parser_class).bind(*[None] * count)
    except TypeError:
        return False
    return True


def _make_request(tools: Sequence[ToolSchema]) -> Any:
    """Build the chat request that formats with typed arguments read the tools from."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    message = {"role": "user", "content": ""}
    if not tools:
        return ChatCompletionRequest(messages=[message])
    return ChatCompletionRequest(
        messages=[message], tools=[dict(tool) for tool in tools], tool_choice="auto"
    )


def _cache_vocabulary(tokenizer: Any) -> Any:
    """Wrap a tokenizer as vLLM's server does: many parsers ask for the whole vocabulary."""
    from transformers import PreTrainedTokenizerBase
    from vllm.tokenizers.hf import get_cached_tokenizer

    is_plain = isinstance(tokenizer, PreTrainedTokenizerBase)
    return get_cached_tokenizer(tokenizer) if is_plain else tokenizer


def _convert_delta(delta: Any) -> StreamDelta | None:
    if delta is None or not (delta.content or delta.tool_calls):
        return None
    pieces = [
        ToolCallDelta(call.index, call.function.name, call.function.arguments or "")
        for call in delta.tool_calls or ()
        if call.function is not None
    ]
    return StreamDelta(delta.content or "", tuple(pieces))
