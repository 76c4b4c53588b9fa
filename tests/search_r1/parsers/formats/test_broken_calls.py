"""What each format says of a call it cannot read."""

import pytest

from search_r1.parsers import ParseStatus, get_tool_parser
from tests.search_r1.parsers.outputs import TOOLS


def parse(name, text):
    return get_tool_parser(name)(tools=TOOLS).extract_tool_calls(text)


BROKEN = [
    # hermes
    ("hermes", "<tool_call>{}", "<tool_call> was not closed by </tool_call>"),
    ("hermes", "x</tool_call>", "</tool_call> closes a call that was never opened by <tool_call>"),
    ("hermes", "<tool_call> \n</tool_call>", "nothing between <tool_call> and </tool_call>"),
    (
        "hermes",
        '<tool_call>{"name": "search", "arguments": {"query": \'x\'}}</tool_call>',
        "the text between <tool_call> and </tool_call> is not valid JSON: Expecting value near "
        "'query\": \\'x\\'}}'",
    ),
    ("hermes", "<tool_call>[1]</tool_call>", 'must be a JSON object like {"name": ..., '),
    ("hermes", '<tool_call>{"arguments": {}}</tool_call>', 'the call has no "name"; write {'),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', 'the call has no "arguments"; write {'),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": "x"}</tool_call>',
        "the arguments of 'now' must be a JSON object, not text",
    ),
    (
        "hermes",
        '<tool_call>{"name": " ", "arguments": {}}</tool_call>',
        "the tool's name must be text, not empty text",
    ),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": {}} and more</tool_call>',
        "is not valid JSON: Extra data near 's\": {}} and more'",
    ),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": {"a": ' + "[" * 60 + "]" * 60 + "}}</tool_call>",
        "the arguments of 'now' are nested too deeply",
    ),
    ("hermes", "<tool_call>" + "[" * 20_000 + "</tool_call>", "nested too deeply"),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": {"a": ' + "9" * 5000 + "}}</tool_call>",
        "holds a number that is too long",
    ),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": {"a": -Infinity}}</tool_call>',
        "an argument of 'now' is not a finite number",
    ),
    (
        "hermes",
        '<tool_call>{"name": "now", "arguments": {"a": "\\ud83d"}}</tool_call>',
        "the call of 'now' holds half of a \\u pair",
    ),
    # llama3_json
    ("llama3_json", '{"name": "now"', "the JSON object of the call was not closed"),
    ("llama3_json", '{"name": "now"}', 'the call has no "parameters"; write {"name": ..., "para'),
    ("llama3_json", "<|python_tag|>x = 1", "<|python_tag|> was not followed by a JSON object"),
    (
        "llama3_json",
        '{"name": "now", "parameters": {}, "arguments": {}}',
        'the call has both "parameters" and "arguments"; write one of them',
    ),
    ("llama3_json", '{"name": "now", "parameters": None}', "the call is not valid JSON: Expecting"),
    # mistral
    ("mistral", "[TOOL_CALLS]now", "the call after [TOOL_CALLS] was not closed"),
    ("mistral", "[TOOL_CALLS] []", "the list after [TOOL_CALLS] holds no call"),
    ("mistral", "[TOOL_CALLS]two words{}", "a tool's name or a list was expected, not 'two words'"),
    ("mistral", "[TOOL_CALLS]{}", "a tool's name or a list was expected, not '{'"),
    ("mistral", "[TOOL_CALLS]" + "a" * 300, "aaaa...' is not followed by arguments in braces"),
    ("mistral", "[TOOL_CALLS]now{x}", "what follows the name 'now' is not valid JSON: Expecting"),
    ("mistral", '[TOOL_CALLS][{"name": "now"}]', 'the call has no "arguments"'),
    # pythonic
    ("pythonic", "[now(", "the list of calls was not closed by ]"),
    ("pythonic", "x<|python_start|>[]", "the list after <|python_start|> holds no call"),
    ("pythonic", "[search('x')]", "the arguments of 'search' must be named: search(argument=value"),
    ("pythonic", "[search(query=x)]", "an argument is not a literal: text, a number, True, "),
    ("pythonic", "[search(**{})]", "the call of 'search' has **; name each argument"),
    ("pythonic", "[search(q={1: 2})]", "a key of a dict is not text"),
    ("pythonic", "[now()[0]]", "an entry of the list is not a call; write name(argument=value)"),
    ("pythonic", "[now()()]", "an entry of the list does not call a tool by its name"),
    ("pythonic", "[now() for x in y]", "the calls are not one list in square brackets"),
    ("pythonic", "[search(q='a\n')]", "the list of calls is not valid Python: unterminated string"),
    ("pythonic", "[f(a=" + "1," * 20_000 + ")]", "the list of calls has 40007 characters; 32768"),
    ("pythonic", "[f(a=" + "-" * 9_000 + "1)]", "the list of calls cannot be read as Python"),
    # qwen3_xml
    ("qwen3_xml", "<tool_call><function=now>", "<tool_call> was not closed by </tool_call>"),
    ("qwen3_xml", "<function=now>", "<function= was not closed by </function>"),
    ("qwen3_xml", "</function>", "</function> closes a call that was never opened"),
    ("qwen3_xml", "<tool_call></tool_call>", "nothing between <tool_call> and </tool_call>"),
    ("qwen3_xml", "<tool_call><function=now></tool_call>", "<function= was not closed by </functi"),
    ("qwen3_xml", "<tool_call>now</tool_call>", "<function=name> was expected, not 'now'"),
    (
        "qwen3_xml",
        "<function=now>x</function>",
        "in the call of 'now', <parameter=key> was expected, not 'x'",
    ),
    (
        "qwen3_xml",
        "<function=now><parameter=a>1</function>",
        "<parameter=a> was not closed by </parameter>",
    ),
    ("qwen3_xml", "<function=></function>", "a call must begin with <function=name>, not '<func"),
]


@pytest.mark.parametrize(("name", "text", "error"), BROKEN)
def test_a_broken_call_is_malformed_and_says_what_to_change(name, text, error):
    parsed = parse(name, text)
    assert parsed.status is ParseStatus.MALFORMED
    assert error in parsed.error
    assert len(parsed.error) < 250
    assert parsed.content == text


@pytest.mark.parametrize(
    ("name", "text", "num_calls"),
    [
        ("hermes", '<tool_call>x</tool_call><tool_call>{"name":"a","arguments":{}}</tool_call>', 1),
        ("llama3_json", '{"name": "a", "parameters": {}}; {"name": "b"}', 1),
        ("mistral", '[TOOL_CALLS][{"name": "a", "arguments": {}}, {"name": "b"}]', 1),
        ("mistral", "[TOOL_CALLS]a{}[TOOL_CALLS]b{x}", 1),
        ("pythonic", "[a(), b(x), c()]", 2),
        ("qwen3_xml", "<tool_call><function=a></function><function=b>x</function></tool_call>", 1),
    ],
)
def test_a_broken_call_does_not_take_the_good_ones_with_it(name, text, num_calls):
    parsed = parse(name, text)
    assert (parsed.status, len(parsed.tool_calls)) == (ParseStatus.MALFORMED, num_calls)
    assert parsed.error


A, B = ("search", {"query": "a"}), ("search", {"query": "b"})
A_LIST, B_LIST = (
    f'[{{"name": "search", "arguments": {{"query": "{query}"}}}}]' for query in ("a", "b")
)
A_XML, B_XML = (
    f"<function=search>\n<parameter=query>\n{query}\n</parameter>\n</function>" for query in "ab"
)


@pytest.mark.parametrize(
    ("name", "text", "calls", "content"),
    [
        (
            "qwen3_xml",
            "<tool_call><function=search><parameter=query>\na\n<parameter=page>\n3\n</parameter>"
            "</function></tool_call>",
            [("search", {"query": "a", "page": "3"})],
            "",
        ),
        ("qwen3_xml", f"<tool_call>\n{A_XML}\n<tool_call>\n{B_XML}\n</tool_call>", [A, B], ""),
        ("mistral", f"[TOOL_CALLS] I search: {A_LIST}", [A], ""),
        ("mistral", f"[TOOL_CALLS]I search [ {A_LIST[1:]} now", [A], "now"),
        ("mistral", f"[TOOL_CALLS] {A_LIST} {B_LIST}", [A], B_LIST),
        ("mistral", f"[TOOL_CALLS] {A_LIST}[TOOL_CALLS] {B_LIST}", [A, B], ""),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_calls_written_carelessly_are_read(name, text, calls, content, size):
    parsed = parse(name, text)
    assert [(call.name, call.arguments) for call in parsed.tool_calls] == calls
    assert (parsed.status, parsed.content) == (ParseStatus.CALL, content)
    parser, names = get_tool_parser(name)(tools=TOOLS), []
    for start in range(0, len(text), size):
        before, piece = text[:start], text[start : start + size]
        delta = parser.extract_tool_calls_streaming(before, before + piece, piece, [], [], [])
        names += [call.name for call in delta.tool_calls] if delta else []
    assert names == [called for called, _ in calls]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", "a < b and <tool_call and tool_call>"),
        ("llama3_json", 'The set {1, 2} or {"answer": 5} or { "Name": 1 }'),
        ("mistral", "[TOOL_CALL] now{}"),
        ("pythonic", "[1] says, in [x](url): x = [now()]"),
        ("qwen3_xml", "<function> <parameter=a> <tool_call"),
    ],
)
def test_text_that_only_resembles_a_call_is_text(name, text):
    parsed = parse(name, text)
    assert (parsed.status, parsed.content, parsed.error) == (ParseStatus.NO_CALL, text, None)


@pytest.mark.parametrize(
    ("name", "text", "unfinished"),
    [
        ("hermes", "think <tool_call>\n{", 6),
        ("hermes", '<tool_call>{"name": "a", "arguments": {}}</tool_call>\n<tool_call>', 54),
        ("llama3_json", 'think {"name": "a', 6),
        ("llama3_json", "<|python_tag|>", 0),
        ("mistral", "think [TOOL_CALLS]", 6),
        ("pythonic", "think\n[now(", 6),
        ("qwen3_xml", "think\n<function=", 6),
    ],
)
def test_a_call_the_text_breaks_off_is_unfinished(name, text, unfinished):
    assert parse(name, text).unfinished == unfinished
