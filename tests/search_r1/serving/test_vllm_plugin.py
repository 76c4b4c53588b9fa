"""Our parsers inside vLLM's own serving code, without a model: whole turns and streamed ones."""

import json
import random
import re
from pathlib import Path

import pytest

from search_r1.parsers import ParseStatus, get_tool_parser

pytestmark = [pytest.mark.slow, pytest.mark.engine]  # importing vLLM takes seconds

PAGE = Path(__file__).resolve().parents[3] / "docs" / "parsers.md"
TURNS = {
    "search_r1": "I wonder.\n<search>Dracula author</search>",
    "search_r1_hermes": 'So: <tool_call>\n{"name": "search", "arguments": {"query": "é\\"}"}}\n'
    '</tool_call>\n<tool_call>\n{"name": "search", "arguments": {"query": "2"}}\n</tool_call>',
    "search_r1_qwen3_xml": "<tool_call>\n<function=search>\n<parameter=query>\nDracula\n"
    "</parameter>\n</function>\n</tool_call>",
    "search_r1_llama3_json": '{"name": "search", "parameters": {"query": "Dracula"}}',
    "search_r1_pythonic": '[search(query="Dracula"), search(query="Stoker")]',
    "search_r1_mistral": '[TOOL_CALLS] [{"name": "search", "arguments": {"query": "Dracula"}}]',
    "search_r1_at_sign": 'Look.\n@search {"query": "Dracula"}',
}
NO_CALLS = ["Just text.", "a < b", "", "<search>", "<tool_call>{", "[", "{", "\n@", "</search>"]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The plugin's module, with the page's own parser loaded beside ours."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    file = tmp_path_factory.mktemp("plugin") / "mine.py"
    file.write_text(block, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        from search_r1.serving.served import ServedParser

        for name, value in ServedParser("at_sign", plugin=str(file)).environment().items():
            patch.setenv(name, value)
        from vllm.tool_parsers import ToolParserManager

        ToolParserManager.import_tool_parser(
            str(PAGE.parents[1] / "search_r1/serving/vllm_plugin.py")
        )
    return ToolParserManager


@pytest.fixture(scope="module")
def ask(plugin):
    """Make the request of a client that offers the search tool."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "search", "parameters": parameters}}

    def make(**fields):
        message = {"role": "user", "content": "?"}
        return ChatCompletionRequest(messages=[message], **({"tools": [tool]} | fields))

    return make


@pytest.fixture(scope="module")
def served(plugin, bpe_tokenizer):
    """Make vLLM's parser for one request, as its server does."""
    from vllm.parser.parser_manager import ParserManager

    def make(name, request):
        parser_class = ParserManager.get_parser(tool_parser_name=name, enable_auto_tools=True)
        return parser_class(bpe_tokenizer, request.tools)

    return make


def whole(parser, request, text):
    _, content, calls = parser.parse(text, request, enable_auto_tools=True)
    return content or "", [(call.name, call.arguments) for call in calls or []]


def streamed(parser, request, pieces):
    content, calls = "", []
    for index, piece in enumerate(pieces):
        delta = parser.parse_delta(
            piece, [7], request, prompt_token_ids=[1], finished=index == len(pieces) - 1
        )
        content += (delta and delta.content) or ""
        for part in (delta and delta.tool_calls) or []:
            if part.index == len(calls):
                assert part.id
                calls.append((part.function.name, ""))
            name, arguments = calls[part.index]
            calls[part.index] = (name, arguments + (part.function.arguments or ""))
    return content, calls


def test_every_parser_of_ours_is_registered(plugin):
    assert set(TURNS) <= set(plugin.list_registered())


@pytest.mark.parametrize("name", TURNS)
def test_calls_are_read_whole_and_streamed_alike(served, ask, name):
    text, request = TURNS[name], ask()
    content, calls = whole(served(name, request), request, text)
    assert calls, name
    assert {call for call, _ in calls} == {"search"}
    assert all(json.loads(arguments)["query"] for _, arguments in calls)
    assert not set("<[{@") & set(content)
    chance = random.Random(0)
    for _ in range(20):
        cuts = sorted(chance.sample(range(1, len(text)), chance.randint(0, 12)))
        pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        found = streamed(served(name, request), request, [*pieces, ""])
        assert found[1] == calls
        assert found[0].strip() == content.strip()


@pytest.mark.parametrize("name", TURNS)
def test_text_without_a_call_is_shown_whole_and_streamed_alike(served, ask, name):
    request = ask()
    for text in NO_CALLS:
        content, calls = whole(served(name, request), request, text)
        assert streamed(served(name, request), request, [*text, ""]) == (content, calls), text
        assert calls == []


@pytest.fixture(scope="module")
def instruct_tokenizer(bpe_tokenizer, tmp_path_factory):
    """A tokenizer in a model's folder, whose generation config names another end of turn."""
    folder = tmp_path_factory.mktemp("model")
    bpe_tokenizer.save_pretrained(folder)
    ids = [bpe_tokenizer.eos_token_id, bpe_tokenizer.convert_tokens_to_ids("<|user|>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return type(bpe_tokenizer).from_pretrained(folder)


@pytest.mark.parametrize("end", ["<|end|>", "<|user|>"])
@pytest.mark.parametrize("name", ["search_r1_hermes", "search_r1_at_sign"])
def test_the_token_that_ends_a_turn_is_no_content(plugin, ask, instruct_tokenizer, name, end):
    parser_class, request = plugin.get_tool_parser(name), ask()

    def read(text):
        found = parser_class(instruct_tokenizer, request.tools).extract_tool_calls(text, request)
        return found.content or "", len(found.tool_calls)

    def stream(pieces):
        parser, said, calls = parser_class(instruct_tokenizer, request.tools), "", set()
        deltas = [
            parser.extract_tool_calls_streaming("", "", piece, [], [], [7], request)
            for piece in pieces
        ]
        for delta in filter(None, [*deltas, parser.finish_streaming()]):
            said += delta.content or ""
            calls |= {call.index for call in delta.tool_calls or ()}
        return said, len(calls)

    call = TURNS[name]
    for text, wanted in [
        (f"Bram Stoker{end}", ("Bram Stoker", 0)),
        (f"{end}{end}", (end, 0)),
        (f"a {end} b", (f"a {end} b", 0)),
        (f"a {end[:4]}", (f"a {end[:4]}", 0)),
        (f"{call}{end}", read(call)),
    ]:
        assert read(text) == wanted, text
        for size in (1, 3, len(text)):
            pieces = [text[start : start + size] for start in range(0, len(text), size)]
            content, num_calls = stream(pieces)
            assert (content.strip(), num_calls) == (wanted[0].strip(), wanted[1]), (text, size)


def test_calls_are_not_read_when_the_client_forbids_them(served, ask):
    for request in (ask(tool_choice="none"), ask(tools=None)):
        text = TURNS["search_r1"]
        assert whole(served("search_r1", request), request, text) == (text, [])
        assert streamed(served("search_r1", request), request, [*text, ""]) == (text, [])


def test_the_turn_ends_where_it_ends_in_a_rollout(served, ask):
    request = served("search_r1", ask()).adjust_request(ask(stop="END"))
    assert request.stop == ["END", "</search>", "<information>", "</answer>"]
    assert request.include_stop_str_in_output
    assert request.skip_special_tokens
    request = served("search_r1_hermes", ask()).adjust_request(ask())
    assert (request.stop, request.skip_special_tokens) == ([], False)
    required = served("search_r1", ask()).adjust_request(ask(tool_choice="required"))
    assert required.structured_outputs is None


def test_the_parser_of_the_page_is_one_class_for_all_uses(plugin):
    parser = get_tool_parser("at_sign")()
    found = parser.extract_tool_calls('Look.\n@search {"query": "Dracula"}')
    assert (found.status, found.content) == (ParseStatus.CALL, "Look.")
    assert found.tool_calls[0].arguments == {"query": "Dracula"}
    hostile = ["\n@search " + "[" * 3000, '\n@search {"n": NaN}', '\n@search {"q": "\\ud83d"}']
    for text in ("\n@search", "\n@search {", "\n@search 3", "\n@ {}", *hostile):
        found = parser.extract_tool_calls(text)
        assert (found.status, found.tool_calls) == (ParseStatus.MALFORMED, []), text
        assert found.error
    assert parser.extract_tool_calls("me@home").status is ParseStatus.NO_CALL
