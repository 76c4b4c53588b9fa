"""Check before a run that the model is told of its tools in the format that the parser reads.

A model that is shown one call format and parsed in another never makes a call, and nothing fails:
hours later the curves are flat. So a call is written by the model's own template, or found in the
prompt's examples, and must parse to what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_r1.assembly import LoopParts
from search_r1.chat_template import ChatTemplate, ChatTemplateError
from search_r1.parsers.base import ExtractedToolCalls, ParseStatus
from search_r1.types import ToolCall

Message = Mapping[str, Any]

_EXAMPLES = {
    "string": "Dublin",
    "integer": 2,
    "number": 2.5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


class FormatError(ValueError):
    """Prompt, chat template, tools and parser do not fit together."""


def check_format(parts: LoopParts, messages: Sequence[Message]) -> None:
    """Check one prompt of a question file against tools, template and parser.

    Raises:
        FormatError: If the prompt does not name a tool, or shows no call that the parser can read.
    """
    prompt = "".join(str(message["content"]) for message in messages)
    if parts.template is not None:
        prompt = parts.template.render(messages, has_reply=True, has_tools=True)
    _check_names(parts, prompt)
    if not check_calls(parts):
        _check_examples(parts, messages, prompt)


def check_calls(parts: LoopParts) -> bool:
    """Check that calls as the chat template writes them are read; False when it writes none.

    Raises:
        FormatError: If the parser reads one as something else.
    """
    written = _template_calls(parts)
    for call, text in written or ():
        parsed = parts.parser.extract_tool_calls(text)
        if parsed.status is not ParseStatus.CALL or parsed.tool_calls != [call]:
            raise FormatError(
                f"the chat template writes a call of {call.name!r} as {text[:200]!r}, which the "
                f"parser {_name(parts)} reads as {_describe(parsed)}; choose the parser of this "
                "model's format with search_r1.parser."
            )
    return written is not None


def _check_names(parts: LoopParts, prompt: str) -> None:
    missing = [name for name in parts.tools.names if name not in prompt]
    if missing:
        raise FormatError(
            f"the prompt never names the tool {missing[0]!r}; this chat template seems to ignore "
            "tools, so describe them in a system message of the prompt, or use a template that "
            f"writes them. The prompt begins: {prompt[:200]!r}"
        )


def _template_calls(parts: LoopParts) -> list[tuple[ToolCall, str]] | None:
    """Let the template write a call of every tool; None when it does not write calls at all."""
    if parts.template is None or parts.template.is_without_tools:
        return None
    written = []
    for schema in parts.tools.schemas:
        function = schema["function"]
        call = ToolCall(function["name"], _example_arguments(function["parameters"]))
        text = _write_call(parts.template, call)
        if text is None:
            return None
        written.append((call, text))
    return written


def _write_call(template: ChatTemplate, call: ToolCall) -> str | None:
    """Give what the template writes as the model's turn when it makes a call."""
    function = {"name": call.name, "arguments": call.arguments}
    tool_call = {"id": "call00000", "type": "function", "function": function}
    question: Message = {"role": "user", "content": "?"}
    answer: Message = {"role": "assistant", "content": "", "tool_calls": [tool_call]}
    try:
        opened = template.render([question], has_reply=True, has_tools=True)
        whole = template.render([question, answer], has_reply=False, has_tools=True)
    except ChatTemplateError:
        return None
    if call.name not in whole[len(opened) :]:
        return None
    return template.model_turn(whole[len(opened) :])


def _check_examples(parts: LoopParts, messages: Sequence[Message], prompt: str) -> None:
    """Find a call in the prompt that the parser can read: what the model will imitate."""
    shown = [m["content"] for m in messages if m["role"] == "assistant"] or [prompt]
    found = [parts.parser.extract_tool_calls(str(text)) for text in shown]
    names = [call.name for parsed in found for call in parsed.tool_calls]
    if not set(names) & set(parts.tools.names):
        raise FormatError(
            f"nothing in the prompt is a call that the parser {_name(parts)} can read, so the "
            f"model cannot know the format; it found {_describe(found[0])} in {shown[0][:200]!r}. "
            "Show a call in the prompt, choose another search_r1.parser, or, for a model that was "
            "trained on the format, set search_r1.is_format_checked: false."
        )


def _describe(parsed: ExtractedToolCalls) -> str:
    if parsed.status is ParseStatus.CALL:
        return "; ".join(f"{call.name}({call.arguments})" for call in parsed.tool_calls)
    return f"a malformed call ({parsed.error})" if parsed.error else "no call"


def _name(parts: LoopParts) -> str:
    return type(parts.parser).__name__


def _example_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Make arguments that fit a JSON schema: the required ones, or one when none is required."""
    properties = parameters.get("properties", {})
    names = parameters.get("required") or list(properties)[:1]
    return {name: _example(properties.get(name, {})) for name in names}


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    return _EXAMPLES.get(kind if isinstance(kind, str) else kind[0], "Dublin")
