"""Our tool parsers in vLLM's server: give this file to ``vllm serve --tool-parser-plugin``.

``--tool-call-parser search_r1`` is the raw search tags, ``search_r1_hermes`` and so on are the
other formats. The server hands whole turns and pieces of turns to the same classes that read
rollouts, so a model is served as it was trained. ``python -m search_r1.serve`` sets all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.entrypoints.openai.engine.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager

from search_r1.answers import ANSWER_CLOSE
from search_r1.eos_ids import eos_ids_of
from search_r1.parsers import (
    ToolCallDelta,
    get_tool_parser,
    load_tool_parser_plugin,
    tool_parser_names,
)
from search_r1.parsers.calls import dump_arguments
from search_r1.parsers.requests import adjust_for_tools
from search_r1.serving.endings import TurnEnding
from search_r1.serving.served import name_in_vllm, read_served_parser


class _ServedParser(ToolParser):  # type: ignore[misc]  # vLLM is read as Any
    """One of our parsers as vLLM's server calls it, for one request."""

    # We read required and named calls in the model's own format, without guided JSON.
    supports_required_and_named = False
    # The server then hands over pieces alone and calls finish_streaming at the end of the turn.
    engine_based_streaming = True

    name: str
    options: dict[str, Any]

    def __init__(self, tokenizer: Any, tools: list[Any] | None = None) -> None:
        super().__init__(tokenizer, tools)
        schemas = [tool.model_dump(exclude_none=True) for tool in self.tools]
        self._parser = get_tool_parser(self.name)(tokenizer, schemas, **self.options)
        # A stop string that is kept has vLLM keep the end-of-turn token too.
        self._ending = TurnEnding(_endings(tokenizer))
        self._text = ""
        self._ids: list[int] = []
        self._content = ""
        self._arguments: list[str] = []
        self._may_call = True

    def adjust_request(self, request: Any) -> Any:
        """Have the turn end where it ends in a rollout, and keep what the parser reads."""
        request = self._parser.adjust_request(request)
        if not self._parser.stop:
            return request
        stop = (*self._parser.forbidden, ANSWER_CLOSE)  # the loop's, for raw text
        return adjust_for_tools(request, stop, has_special_markers=False)

    def extract_tool_calls(self, model_output: str, request: Any) -> ExtractedToolCallInformation:
        """Read a whole turn."""
        if request.tool_choice == "none":
            return _information([], model_output)
        found = self._parser.extract_tool_calls(self._ending.cut(model_output), request)
        calls = [
            ToolCall(
                function=FunctionCall(name=call.name, arguments=dump_arguments(call.arguments))
            )
            for call in found.tool_calls
        ]
        return _information(calls, found.content)

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> DeltaMessage | None:
        """Read the next piece of a turn; only the piece itself is taken from the server."""
        self._may_call = request.tool_choice != "none"
        if not self._may_call:
            return DeltaMessage(content=delta_text) if delta_text else None
        text, ids, piece = self._text, self._ids, self._ending.feed(delta_text)
        self._text, self._ids = text + piece, [*ids, *delta_token_ids]
        delta = self._parser.extract_tool_calls_streaming(
            text, self._text, piece, ids, self._ids, delta_token_ids, request
        )
        return self._send(delta.content, delta.tool_calls) if delta else None

    def finish_streaming(self) -> DeltaMessage | None:
        """Send what the whole turn holds and no piece has said yet."""
        if not self._may_call:
            return None
        self._text += self._ending.close()
        found = self._parser.extract_tool_calls(self._text)
        rest = []
        for index, call in enumerate(found.tool_calls):
            arguments = dump_arguments(call.arguments)
            sent = self._arguments[index] if index < len(self._arguments) else None
            if sent is None:
                rest.append(ToolCallDelta(index, call.name, arguments))
            elif arguments.startswith(sent) and arguments != sent:
                rest.append(ToolCallDelta(index, None, arguments[len(sent) :]))
        is_longer = found.content.startswith(self._content)
        content = found.content[len(self._content) :] if is_longer else ""
        return self._send(content, rest)

    def _send(self, content: str, calls: Sequence[ToolCallDelta]) -> DeltaMessage | None:
        if not content and not calls:
            return None
        self._content += content
        for call in calls:
            if call.index == len(self._arguments):
                self._arguments.append("")
            self._arguments[call.index] += call.arguments
        message = DeltaMessage(tool_calls=[_piece(call) for call in calls])
        if content:
            message.content = content
        return message


def _endings(tokenizer: Any) -> list[str]:
    """Give the texts of the tokens that end a turn of this tokenizer's model."""
    ids = eos_ids_of(getattr(tokenizer, "name_or_path", "") or "", tokenizer)
    return [tokenizer.decode([token_id], skip_special_tokens=False) for token_id in ids]


def _piece(call: ToolCallDelta) -> DeltaToolCall:
    if call.name is None:
        function = DeltaFunctionCall(arguments=call.arguments)
        return DeltaToolCall(index=call.index, function=function)
    function = DeltaFunctionCall(name=call.name, arguments=call.arguments)
    new_id = ToolCall(function=FunctionCall(name=call.name, arguments="")).id
    return DeltaToolCall(index=call.index, id=new_id, type="function", function=function)


def _information(calls: list[Any], content: str) -> ExtractedToolCallInformation:
    return ExtractedToolCallInformation(
        tools_called=bool(calls), tool_calls=calls, content=content or None
    )


def _register() -> None:
    """Make every parser of ours known to vLLM."""
    served = read_served_parser()
    if served.plugin:
        load_tool_parser_plugin(served.plugin)
    for name in {*tool_parser_names(), served.name}:
        if name.startswith("vllm:"):
            continue  # vLLM has it
        options = served.options if name == served.name else {}
        parser_class = type("ServedParser", (_ServedParser,), {"name": name, "options": options})
        ToolParserManager.register_module(name_in_vllm(name), module=parser_class)


_register()
