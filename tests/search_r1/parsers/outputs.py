"""What models write, made in every call format from the same calls."""

import json
from dataclasses import dataclass

from search_r1.types import ToolCall
from tests.search_r1.parsers.junk import JUNK

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "",
            "parameters": {"type": "object", "properties": properties},
        },
    }
    for name, properties in [
        ("search", {"query": {"type": "string"}}),
        ("now", {}),
        (
            "mixed",
            {
                "text": {"type": "string"},
                "count": {"type": "integer"},
                "ratio": {"type": "number"},
                "is_new": {"type": "boolean"},
                "tags": {"type": "array"},
                "where": {"type": "object"},
                "level": {"enum": ["low", 2]},
                "either": {"type": ["integer", "string"]},
                "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        ),
    ]
]

CALLS = {
    "plain": ToolCall("search", {"query": "Who wrote Dracula?"}),
    "no arguments": ToolCall("now", {}),
    "unicode": ToolCall("search", {"query": "富士山 é 🐋 ñ"}),
    "escapes": ToolCall("search", {"query": 'the "quoted" \\ one\'s\n\ttab / end'}),
    "braces in text": ToolCall("search", {"query": '} ] ) {"a": [}\''}),
    "nested": ToolCall("mixed", {"where": {"a": {"b": [{"c": {}}, [], [[1]]]}}, "tags": [{}, "x"]}),
    "types": ToolCall(
        "mixed",
        {"text": "5", "count": -3, "ratio": 0.5, "is_new": True, "tags": [1, None], "maybe": None},
    ),
    "empty text": ToolCall("mixed", {"text": "", "maybe": ""}),
}

GROUPS = {
    **{name: [call] for name, call in CALLS.items()},
    "two calls": [CALLS["plain"], CALLS["nested"]],
    "three calls": [CALLS["unicode"], CALLS["no arguments"], CALLS["plain"]],
}
"""Calls of one turn."""


@dataclass(frozen=True)
class Output:
    """A turn, and the calls it was made from; None where it must be judged by other means."""

    name: str
    text: str
    calls: list[ToolCall] | None = None


def write_json_call(call, key="arguments", *, indent=None, is_ascii=False):
    return json.dumps(
        {"name": call.name, key: call.arguments}, indent=indent, ensure_ascii=is_ascii
    )


def write_hermes(calls, **style):
    return "\n".join(f"<tool_call>\n{write_json_call(c, **style)}\n</tool_call>" for c in calls)


def write_llama3_json(calls, **style):
    return "; ".join(write_json_call(call, "parameters", **style) for call in calls)


def write_mistral_list(calls, **style):
    return f"[TOOL_CALLS] [{', '.join(write_json_call(call, **style) for call in calls)}]"


def write_mistral_named(calls, between="", **style):
    style["ensure_ascii"] = style.pop("is_ascii", False)
    return "".join(
        f"[TOOL_CALLS]{call.name}{between}{json.dumps(call.arguments, **style)}" for call in calls
    )


def write_pythonic(calls):
    written = (
        f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"
        for call in calls
    )
    return f"[{', '.join(written)}]"


def write_qwen3_xml(calls, newline="\n"):
    return "\n".join(_write_qwen3_call(call, newline) for call in calls)


def _write_qwen3_call(call, newline):
    parameters = "".join(
        f"<parameter={key}>{newline}"
        f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        f"{newline}</parameter>{newline}"
        for key, value in call.arguments.items()
    )
    function = f"<function={call.name}>{newline}{parameters}</function>"
    return f"<tool_call>{newline}{function}{newline}</tool_call>"


def write_search_tags(calls):
    return f"<search>{calls[0].arguments.get('query', 'x')}</search>"


WRITERS = {
    "hermes": {
        "template": write_hermes,
        "indented": lambda calls: write_hermes(calls, indent=2),
        "ascii": lambda calls: write_hermes(calls, is_ascii=True),
    },
    "llama3_json": {
        "template": write_llama3_json,
        "indented": lambda calls: write_llama3_json(calls, indent=4),
        "tagged": lambda calls: "<|python_tag|>" + write_llama3_json(calls),
        "arguments": lambda calls: "; ".join(write_json_call(call) for call in calls),
    },
    "mistral": {
        "list": write_mistral_list,
        "indented": lambda calls: write_mistral_list(calls, indent=2),
        "named": write_mistral_named,
        "args marker": lambda calls: write_mistral_named(calls, "[ARGS]"),
    },
    "pythonic": {
        "template": write_pythonic,
        "llama 4": lambda calls: f"<|python_start|>{write_pythonic(calls)}<|python_end|>",
    },
    "qwen3_xml": {
        "template": write_qwen3_xml,
        "one line": lambda calls: write_qwen3_xml(calls, ""),
    },
}

SURROUNDINGS = {
    "alone": "{}",
    "text before": "I need to look that up.\n{}",
    "text after": "{}\nThat is the call.",
    "text around": "First, {{think}} <b>é🐋</b> [1]:\n\n{}\n\nThen [x] <i>wait</i>.",
}

WRITERS["search_tags"] = {"template": write_search_tags}


def outputs(format_name):
    """Make the outputs of one format: valid ones in each style and surrounding, and junk."""
    made = [
        Output(f"{style}: {group}, {place}", pattern.format(write(calls)), calls)
        for style, write in WRITERS[format_name].items()
        for group, calls in GROUPS.items()
        for place, pattern in SURROUNDINGS.items()
    ]
    made += [Output(f"junk: {text}", text) for text in JUNK[format_name]]
    return made + [Output(f"text: {text}", text) for text in ("", "Just text.", "a\n\nb {} [] <>")]
