"""What a served model reads: the text it was trained on, or a refusal before the server starts."""

import copy
import json

import jinja2
import pytest

from search_r1.errors import LaunchError, UsageError
from search_r1.parsers import get_tool_parser
from search_r1.prompts import build_prompt
from search_r1.serving.format import choose_template, load_parser
from search_r1.serving.served import ServedParser, name_in_vllm, read_served_parser

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
HERMES = (
    "{% if tools %}<|user|>system\n{{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>"
    "{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)


@pytest.fixture
def tokenizer(bpe_tokenizer):
    return copy.deepcopy(bpe_tokenizer)


def conversation(question, query, result, answer):
    function = {"name": "search", "arguments": {"query": query}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": answer},
    ]


def render(tokenizer, template, messages, tools=(SEARCH,)):
    tokenizer.chat_template = template.source
    return tokenizer.apply_chat_template(
        messages,
        tools=list(tools),
        tokenize=False,
        add_generation_prompt=True,
        **template.options,
    )


@pytest.mark.parametrize("prompt", ["search_r1", "two_shot"])
def test_search_tags_are_served_the_text_of_their_rollouts(tokenizer, prompt):
    template = choose_template(tokenizer, ServedParser(), None, prompt, "raw")
    parser = get_tool_parser("search_tags")()
    question, result = "who  wrote\nDracula", "Doc 1 </information> <b>"
    messages = conversation(question, "Dracula author", result, "<answer>Stoker</answer>")
    trained = (
        build_prompt(prompt, question)[0]["content"]
        + "<search>Dracula author</search>"
        + parser.format_results([result])
        + "<answer>Stoker</answer>"
    )
    assert render(tokenizer, template, messages) == trained
    messages.append({"role": "user", "content": "And Emma?"})
    assert render(tokenizer, template, messages) == f"{trained}\n\nQuestion: And Emma?\n"


def test_a_prompt_in_the_models_own_template_is_served_in_it(tokenizer):
    tokenizer.chat_template = CHATML
    template = choose_template(tokenizer, ServedParser(), None, "search_r1", "chat")
    messages = conversation("Who?", "who", "He.", "<answer>he</answer>")
    prompt = build_prompt("search_r1", "Who?")
    opened = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    trained = f"{opened}<search>who</search>\n<information>He.</information>\n<answer>he</answer>"
    assert render(tokenizer, template, messages) == trained
    messages.append({"role": "user", "content": "And now?"})
    next_turn = "<|end|>\n<|user|>user\nQuestion: And now?\n<|end|>\n<|user|>assistant\n"
    assert render(tokenizer, template, messages) == trained + next_turn


def test_a_client_is_told_what_the_model_cannot_read(tokenizer):
    template = choose_template(tokenizer, ServedParser(), None, "two_shot", "raw")
    question = {"role": "user", "content": "Who?"}
    other = {"type": "function", "function": {"name": "calc"}}
    with pytest.raises(jinja2.TemplateError, match="calc was offered"):
        render(tokenizer, template, [question], [SEARCH, other])
    with pytest.raises(jinja2.TemplateError, match="the role system"):
        render(tokenizer, template, [{"role": "system", "content": "Be brief."}, question])
    with pytest.raises(jinja2.TemplateError, match="question is empty"):
        render(tokenizer, template, [{"role": "user", "content": " "}])


def test_a_template_that_hides_the_tools_is_refused(tokenizer, tmp_path):
    tokenizer.chat_template = CHATML
    with pytest.raises(LaunchError, match=r"never names the tool 'search'.*--chat-template FILE"):
        choose_template(tokenizer, ServedParser("hermes"), None, None, "raw")
    file = tmp_path / "hermes.jinja"
    file.write_text(HERMES, encoding="utf-8")
    template = choose_template(tokenizer, ServedParser("hermes"), file, None, "raw")
    assert template.source.endswith(HERMES)
    with pytest.raises(LaunchError, match="which the parser PythonicParser reads as no call"):
        choose_template(tokenizer, ServedParser("pythonic"), file, None, "raw")


def test_tags_the_shipped_template_does_not_write_need_another(tokenizer):
    served = ServedParser(options={"search_tag": "find"})
    with pytest.raises(UsageError, match=r"writes <search>query</search>, .*--chat-template"):
        choose_template(tokenizer, served, None, "two_shot", "raw")


def test_wrong_parsers_are_refused(tokenizer, tmp_path):
    with pytest.raises(UsageError, match=r"unknown tool parser 'hermess'.*hermes"):
        load_parser(ServedParser("hermess"))
    with pytest.raises(UsageError, match="not a Python file"):
        load_parser(ServedParser(plugin=str(tmp_path / "none.py")))
    with pytest.raises(UsageError, match="unexpected keyword argument 'tag'"):
        choose_template(tokenizer, ServedParser(options={"tag": 1}), None, "two_shot", "raw")
    with pytest.raises(LaunchError, match="no chat template; use --prompt-style raw"):
        choose_template(tokenizer, ServedParser(), None, "two_shot", "chat")


def test_the_parser_travels_to_the_server_in_its_environment(monkeypatch):
    assert read_served_parser() == ServedParser()
    served = ServedParser("hermes", {"is_single_call": True}, "mine.py")
    for name, value in served.environment().items():
        assert json.loads(value)["name"] == "hermes"
        monkeypatch.setenv(name, value)
    assert read_served_parser() == served
    names = [name_in_vllm(name) for name in ("search_tags", "hermes", "vllm:xlam", "verl:glm")]
    assert names == ["search_r1", "search_r1_hermes", "xlam", "search_r1_verl:glm"]
