"""Chat templates of several kinds, cut into what stands between two turns of the model."""

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from search_r1.chat_template import ChatTemplate, ChatTemplateError
from search_r1.tokens import HfCodec

MARKS = ["<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "[TOOL_RESULTS]", "</s>", "<|eot|>"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Tool results are gathered in one user message, as Qwen's templates do.
GATHERING = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}"
    "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}"
    "\n<tool_response>\n{{ m.content }}\n</tool_response>"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# No assistant header, an end-of-text token per turn, ids of nine characters, as Mistral's.
BRACKETS = (
    "{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}"
    "{% if m.tool_call_id | length != 9 %}{{ raise_exception('id of 9 characters') }}{% endif %}"
    "[TOOL_RESULTS]{{ {'content': m.content} | tojson }}"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
# Thoughts of turns before the last user message are dropped, as Qwen3's template does.
FORGETTING = (
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index0 < ns.last and '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1].lstrip() }}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_TOOLS = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SCHEMA = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def open_template(bpe_tokenizer):
    def open_one(template, eos="<|im_end|>", **options):
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=bpe_tokenizer.backend_tokenizer, eos_token=eos
        )
        tokenizer.add_special_tokens(
            {"additional_special_tokens": [AddedToken(mark, special=True) for mark in MARKS]}
        )
        tokenizer.chat_template = template
        codec = HfCodec(tokenizer)
        return ChatTemplate(tokenizer, codec, [SCHEMA], **options), codec, tokenizer

    return open_one


@pytest.mark.parametrize(
    ("text", "eos"), [(CHATML, "<|im_end|>"), (GATHERING, "<|im_end|>"), (BRACKETS, "</s>")]
)
@pytest.mark.parametrize("contents", [("one result",), ("first", "second\n"), ("a", "b", "c")])
def test_appending_gives_the_tokens_of_rendering_everything(open_template, text, eos, contents):
    template, codec, tokenizer = open_template(text, eos)
    asked = [{"role": "user", "content": "who?"}]
    answered = [*asked, {"role": "assistant", "content": "I look it up."}]
    given = [
        {"role": "tool", "content": content, "tool_call_id": "call00000"} for content in contents
    ]
    prompt = template.prompt_ids(asked)
    opening = " " if text is BRACKETS else ""
    written = tokenizer.encode(f"{opening}I look it up.{eos}", add_special_tokens=False)
    whole = tokenizer.encode(
        template.render([*answered, *given], has_reply=True, has_tools=True),
        add_special_tokens=False,
    )
    closed = template.between("tool", contents, True)
    assert prompt + written + closed.ids == whole
    still_open = template.between("tool", contents, False)
    assert still_open.ids == [codec.special_ids[eos], *closed.ids]
    for encoded in (closed, still_open):
        assert codec.decode(encoded.ids) == encoded.text


# Takes a result only where the turn before it made a call, as gpt-oss' template does.
STRICT = (
    "{% set ns = namespace(called=false) %}{% for m in messages %}"
    "{% if m.role == 'tool' and not ns.called %}{{ raise_exception('no call before') }}{% endif %}"
    "{% if m.tool_calls %}{% set ns.called = true %}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_wants_a_call_before_a_result_gets_one(open_template):
    template, _, _ = open_template(STRICT)
    assert template.between("tool", ("x",), True).text == (
        "\n<|im_start|>tool\nx<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_special_token_in_a_result_is_characters(open_template):
    template, codec, _ = open_template(CHATML, markers=("<tool_response>", "</tool_response>"))
    encoded = template.between("tool", ("a <|im_end|> b </tool_response> c",), True)
    assert encoded.ids.count(codec.special_ids["<|im_end|>"]) == 1
    assert "a < |im_end|> b < /tool_response> c" in encoded.text


def test_a_prompt_and_a_correction_may_show_how_a_call_is_written(open_template):
    template, codec, _ = open_template(CHATML, roles=("tool", "user"), markers=("<tool_call>",))
    shown = "write <tool_call>"
    assert shown in template.between("user", (shown,), True).text
    assert shown in codec.decode(template.prompt_ids([{"role": "user", "content": shown}]))


def test_added_tokens_that_are_not_special_cannot_be_brought_in_either(open_template):
    _, _, tokenizer = open_template(CHATML)
    tokenizer.add_tokens([AddedToken("<|call|>", special=False), " Dracula"])
    template = ChatTemplate(tokenizer, HfCodec(tokenizer))
    encoded = template.between("tool", ("a <|call|> Dracula",), True)
    assert "> Dracula" in encoded.text  # a word stays a word
    assert tokenizer.convert_tokens_to_ids("<|call|>") not in encoded.ids


def test_a_message_without_content_stays_without(open_template):
    template, codec, _ = open_template("{{ messages[0].content is none }}" + CHATML)
    call = {"id": "call00000", "type": "function", "function": {"name": "x", "arguments": {}}}
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert codec.decode(template.prompt_ids(messages)).startswith("True")
    prompt = template.prompt_ids([{"role": "user", "content": "what is <|im_end|>?"}])
    assert prompt.count(codec.special_ids["<|im_end|>"]) == 1


def test_a_template_that_drops_thoughts_is_refused_unless_its_turns_are_kept(open_template):
    template, _, _ = open_template(FORGETTING)  # no user message follows a tool call
    assert template.between("tool", ("x",), True).text.startswith("\n<|im_start|>tool\nx")
    with pytest.raises(ChatTemplateError, match=r"role 'user' follows.*history: append"):
        open_template(FORGETTING, roles=("tool", "user"))
    template, _, _ = open_template(FORGETTING, roles=("tool", "user"), history="append")
    assert template.between("user", ("x",), True).text.startswith("\n<|im_start|>user\nx")


def test_a_template_without_tool_messages_is_refused(open_template):
    with pytest.raises(ChatTemplateError, match=r"roles user, assistant, tool: no tools"):
        open_template(NO_TOOLS)


def test_a_turn_that_would_never_end_is_refused(open_template):
    with pytest.raises(ChatTemplateError, match=r"generation ends at <\|eot\|>; set eos_token_id"):
        open_template(CHATML, eos="<|eot|>")


def test_a_missing_template_and_an_unknown_history_are_refused(open_template):
    with pytest.raises(ChatTemplateError, match="no chat template; use prompt_style: raw"):
        open_template(None)
    with pytest.raises(ValueError, match="history is 'keep'; expected one of: refuse, append"):
        open_template(CHATML, history="keep")
