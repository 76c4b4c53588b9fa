"""What a run is told before it starts, when prompt, template, tools and parser do not agree."""

import asyncio
import copy
import json

import pytest

from search_r1.assembly import FormatConfig, assemble
from search_r1.format_check import FormatError, check_format
from search_r1.loop import LoopConfig
from search_r1.prompts import build_prompt

PLAIN = (
    "{% for m in messages %}{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant\n{% endif %}"
)
# Writes tools and calls the way the hermes family does.
HERMES = (
    "{% if tools %}system\n{{ tools | tojson }}{{ eos_token }}\n{% endif %}"
    "{% for m in messages %}{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant\n{% endif %}"
)
# The same with function tags, which a hermes parser cannot read.
TAGGED = HERMES.replace(
    '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>",
    "<function={{ c.function.name }}>{{ c.function.arguments | tojson }}</function>",
)
QUESTION = [{"role": "user", "content": "who wrote Dracula?"}]
CHAT = {"prompt_style": "chat", "result_style": "chat", "parser": "hermes"}


class NoSearcher:
    async def search(self, queries, top_k):
        raise AssertionError("a check does not search")


@pytest.fixture
def check(bpe_tokenizer):
    def run(template, messages, **form):
        tokenizer = copy.deepcopy(bpe_tokenizer)  # others share it
        tokenizer.chat_template = template
        parts = assemble(tokenizer, (), FormatConfig(**form), LoopConfig(), NoSearcher())
        try:
            check_format(parts, messages)
        finally:
            asyncio.run(parts.tools.aclose())

    return run


def test_prompts_of_ours_pass_with_their_parsers(check):
    check(None, build_prompt("search_r1", "q"))
    check(None, build_prompt("two_shot", "q"))
    check(PLAIN, build_prompt("search_r1", "q"), prompt_style="chat")
    check(PLAIN, build_prompt("two_shot_hermes", "q"), **CHAT)


def test_a_template_that_writes_what_the_parser_reads_needs_no_example(check):
    check(HERMES, QUESTION, **CHAT)


def test_a_template_and_a_parser_of_two_formats_are_refused(check):
    with pytest.raises(FormatError, match="writes a call of 'search' as '<function=") as refused:
        check(TAGGED, QUESTION, **CHAT)
    assert "HermesParser reads as no call; choose the parser" in str(refused.value)


def test_a_template_that_ignores_tools_is_refused(check):
    with pytest.raises(FormatError, match="the prompt never names the tool 'search'"):
        check(PLAIN, QUESTION, **CHAT)


def test_a_prompt_that_shows_no_call_is_refused(check):
    told = [{"role": "system", "content": "You may use search."}, *QUESTION]
    with pytest.raises(FormatError, match="is_format_checked: false"):
        check(PLAIN, told, **CHAT)
    with pytest.raises(FormatError, match="nothing in the prompt is a call"):
        check(None, build_prompt("two_shot", "q"), parser="hermes")


def test_examples_of_another_format_are_refused(check):
    call = json.dumps({"name": "search", "arguments": {"query": "q"}})
    shown = [*QUESTION, {"role": "assistant", "content": f"<tool_call>{call}"}, *QUESTION]
    with pytest.raises(FormatError, match="a malformed call"):
        check(PLAIN, shown, **CHAT)


def test_raw_results_of_a_format_with_special_tokens_are_refused(mistral_tokenizer):
    form = FormatConfig(parser="mistral")
    with pytest.raises(ValueError, match=r"TOOL_RESULTS.*set prompt_style and result_style"):
        assemble(mistral_tokenizer, (), form, LoopConfig(), NoSearcher())


MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}"
    "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}"
    '[TOOL_RESULTS]{"content": {{ m.content | tojson }}, "call_id": "{{ m.tool_call_id }}"}'
    "[/TOOL_RESULTS]"
    "{% elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, '
    '"id": "{{ c.id }}"}{% endfor %}]</s>'
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)


def test_a_format_whose_calls_begin_with_a_special_token_passes(mistral_tokenizer):
    tokenizer = copy.deepcopy(mistral_tokenizer)  # others share it
    tokenizer.chat_template = MISTRAL
    form = FormatConfig(prompt_style="chat", result_style="chat", parser="mistral")
    parts = assemble(tokenizer, (), form, LoopConfig(), NoSearcher())
    check_format(parts, QUESTION)
    written = parts.style.results(["found"], True)
    assert (
        written.text == '[TOOL_RESULTS]{"content": "found", "call_id": "call00000"}[/TOOL_RESULTS]'
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            {"prompt_style": "xml"},
            r"search_r1.prompt_style is 'xml'; it must be one of 'raw', 'chat'",
        ),
        ({"result_style": "chat"}, "set both to 'chat'"),
        ({"template_options": {"enable_thinking": False}}, "set search_r1.prompt_style to 'chat'"),
        ({"history": "append"}, "set search_r1.result_style to 'chat'"),
        ({"prompt": "three_shot"}, "search_r1.prompt is 'three_shot'; it must be null or one of"),
        ({"parser": "hermess"}, "hermess.*hermes"),
        ({"parser_options": {"tag": 1}}, "parser_options do not fit the parser 'search_tags'"),
        ({"tools": {"x": {"type": "web"}}}, "web"),
        ({"parser_plugin": "nowhere.py"}, "nowhere.py"),
    ],
)
def test_a_wrong_setting_names_itself_and_what_exists(check, form, said):
    with pytest.raises(ValueError, match=said):
        check(None, QUESTION, **form)
