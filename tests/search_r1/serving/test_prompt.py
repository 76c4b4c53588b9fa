"""A prompt of several messages, served: the same text as in the rollouts, by any chat template."""

import copy

import jinja2
import pytest

from search_r1.assembly import FormatConfig, assemble
from search_r1.errors import LaunchError, UsageError
from search_r1.loop import LoopConfig
from search_r1.prompts import build_prompt
from search_r1.serving.format import choose_template
from search_r1.serving.served import ServedParser

PROMPT = "two_shot_hermes"
SEARCH_CALL = '<tool_call>\n{"name": "search", "arguments": {"query": "Émile Zola"}}\n</tool_call>'

CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
# White space that must stay, a macro that reads `messages`, results gathered in one user message.
QWEN_LIKE = (
    "\n  {% if tools %}\n<|user|>system\n{{ messages[0].content }}\n{{ tools | tojson }}<|end|>\n"
    "{% endif %}"
    "{% macro role_at(at) %}{{ messages[at].role if at < messages | length }}{% endmacro %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if role_at(loop.index0 - 1) != 'tool' %}<|user|>user{% endif %}"
    "\n<tool_response>\n{{ m.content }}\n</tool_response>"
    "{% if role_at(loop.index) != 'tool' %}<|end|>\n{% endif %}"
    "{% elif m.role != 'system' %}<|user|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>"
    "{% endfor %}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)


@pytest.fixture(params=["chatml", "qwen_like", "several", "smollm2"])
def tokenizer(request, bpe_tokenizer):
    if request.param == "smollm2":
        return copy.deepcopy(request.getfixturevalue("smollm2_tokenizer"))
    tokenizer = copy.deepcopy(bpe_tokenizer)
    templates = {"chatml": CHATML, "qwen_like": QWEN_LIKE}
    templates["several"] = {"default": CHATML, "tool_use": CHATML}
    if request.param == "several":  # the prompt itself holds a special token
        tokenizer.add_special_tokens({"extra_special_tokens": ["<|user|>", "<answer>"]})
    tokenizer.chat_template = templates[request.param]
    return tokenizer


@pytest.fixture
def chatml_tokenizer(bpe_tokenizer):
    tokenizer = copy.deepcopy(bpe_tokenizer)
    tokenizer.chat_template = CHATML
    return tokenizer


def open_rollouts(tokenizer, searcher, *, is_single_call):
    """Give the parts of the rollouts that the preset quickstart_hermes makes."""
    options = {"is_single_call": is_single_call}
    form = FormatConfig(PROMPT, "chat", "chat", parser="hermes", parser_options=options)
    return assemble(copy.deepcopy(tokenizer), (), form, LoopConfig(), searcher)


def open_server(tokenizer):
    """Give what renders messages as the served model reads them."""
    tokenizer = copy.deepcopy(tokenizer)
    template = choose_template(tokenizer, ServedParser("hermes"), None, PROMPT, "raw")
    tokenizer.chat_template = template.source

    def render(messages, tools=None):
        return tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True, **template.options
        )

    return render


def as_client(rollouts, text):
    """Give a turn of the model as a chat client keeps it."""
    found = rollouts.parser.extract_tool_calls(text)
    calls = [{"name": call.name, "arguments": call.arguments} for call in found.tool_calls]
    tool_calls = [{"id": "1", "type": "function", "function": call} for call in calls]
    return {"role": "assistant", "content": found.content or None, "tool_calls": tool_calls}


@pytest.mark.slow
@pytest.mark.parametrize("is_single_call", [True, False])
def test_the_served_model_reads_the_text_of_its_rollouts(tokenizer, searcher_of, is_single_call):
    rollouts = open_rollouts(tokenizer, searcher_of(), is_single_call=is_single_call)
    end = tokenizer.eos_token
    question, result = f"who  wrote\nNana {end}", f"Doc 1(Title: Nana) A novel.{end}\nby <Zola>"
    first = f"<think>\nhm\n</think>\n{SEARCH_CALL}"
    second = first if is_single_call else f"{first}\n{SEARCH_CALL}"
    results = [result] if is_single_call else [result, "Nothing was found."]
    correction = "That  did not work:\ncall a tool"
    trained = rollouts.codec.decode(rollouts.style.prompt_ids(build_prompt(PROMPT, question)))
    messages = [{"role": "user", "content": question}]
    serve, tools = open_server(tokenizer), rollouts.tools.schemas
    assert serve(messages, tools) == trained
    for turn, texts in ((first, [result]), (second, results)):
        between = rollouts.style.results(texts, is_turn_closed=False)
        trained += turn + between.text
        messages.append(as_client(rollouts, turn))
        messages += [{"role": "tool", "tool_call_id": "1", "content": text} for text in texts]
        assert serve(messages, tools) == trained
    between = rollouts.template.between("user", (correction,), False)
    trained += "Zola, I think." + between.text
    messages.append({"role": "assistant", "content": "Zola, I think."})
    messages.append({"role": "user", "content": correction})
    assert serve(messages, tools) == trained


def test_a_client_is_told_what_the_prompt_leaves_no_place_for(chatml_tokenizer):
    serve = open_server(chatml_tokenizer)
    question = {"role": "user", "content": "Who?"}
    with pytest.raises(jinja2.TemplateError, match=r"prompt the model was trained with.*system"):
        serve([{"role": "system", "content": "Be brief."}, question])
    with pytest.raises(jinja2.TemplateError, match="question is empty"):
        serve([{"role": "user", "content": " "}])


def test_the_template_says_what_it_needs_when_used_alone(chatml_tokenizer):
    template = choose_template(chatml_tokenizer, ServedParser("hermes"), None, PROMPT, "raw")
    chatml_tokenizer.chat_template = template.source
    with pytest.raises(jinja2.TemplateError, match="chat_prompt in --default-chat-template-kw"):
        chatml_tokenizer.apply_chat_template([{"role": "user", "content": "Who?"}])


@pytest.mark.parametrize("parser", ["pythonic", "qwen3_xml", "search_tags"])
def test_a_parser_that_cannot_read_the_prompts_calls_is_refused(chatml_tokenizer, parser):
    with pytest.raises(LaunchError, match=r"Parser reads as .*two_shot_hermes.* hermes format"):
        choose_template(chatml_tokenizer, ServedParser(parser), None, PROMPT, "raw")


def test_a_prompt_around_search_tags_is_refused_for_another_format(chatml_tokenizer, tmp_path):
    with pytest.raises(UsageError, match=r"two_shot is text around search tags.*two_shot_hermes"):
        choose_template(chatml_tokenizer, ServedParser("hermes"), None, "two_shot", "raw")
    file = tmp_path / "mine.jinja"
    file.write_text(CHATML, encoding="utf-8")
    with pytest.raises(UsageError, match="without --chat-template"):
        choose_template(chatml_tokenizer, ServedParser(), file, "two_shot", "raw")


def test_a_prompt_goes_in_front_of_a_template_of_the_users(bpe_tokenizer, tmp_path):
    tokenizer = copy.deepcopy(bpe_tokenizer)
    with pytest.raises(LaunchError, match="no chat template; give one with --chat-template"):
        choose_template(tokenizer, ServedParser("hermes"), None, PROMPT, "raw")
    file = tmp_path / "mine.jinja"
    file.write_text(CHATML, encoding="utf-8")
    template = choose_template(tokenizer, ServedParser("hermes"), file, PROMPT, "raw")
    assert template.source.endswith(CHATML)
