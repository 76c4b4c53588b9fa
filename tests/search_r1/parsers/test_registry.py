import subprocess
import sys
from pathlib import Path

import pytest

import search_r1.parsers
from search_r1.parsers import (
    ParseStatus,
    ToolParser,
    get_tool_parser,
    load_tool_parser_plugin,
    register_lazy_tool_parser,
    register_tool_parser,
    tool_parser_names,
)
from search_r1.parsers.formats.hermes import HermesParser
from search_r1.parsers.formats.search_tags import SearchTagsParser

FORMATS = [
    "hermes",
    "llama3_json",
    "mistral",
    "pythonic",
    "qwen3_coder",
    "qwen3_xml",
    "search_tags",
]
PLUGIN = """
from search_r1.parsers import ExtractedToolCalls, ParseStatus, ToolParser, register_tool_parser
from search_r1.types import ToolCall


@register_tool_parser("shout")
class ShoutParser(ToolParser):
    stop = ("!",)

    def extract_tool_calls(self, text, request=None):
        if not text.endswith("!"):
            return ExtractedToolCalls(ParseStatus.NO_CALL, content=text)
        call = ToolCall("search", {"query": text[:-1]})
        return ExtractedToolCalls(ParseStatus.CALL, [call], end=len(text))

    def extract_tool_calls_streaming(self, *pieces, request=None):
        return None

    def format_results(self, texts):
        return " ".join(texts)

    def explain(self, message):
        return message
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Leave the registry as it was."""
    for name in ("_parsers", "_lazy_parsers"):
        monkeypatch.setattr(search_r1.parsers, name, dict(getattr(search_r1.parsers, name)))


@pytest.fixture
def plugin(tmp_path):
    def write(source, name="plugin.py"):
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


def test_the_parser_of_the_page_takes_whatever_a_model_writes(plugin):
    page = Path(__file__).parents[3] / "docs" / "parsers.md"
    block = page.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    assert load_tool_parser_plugin(plugin(block)) == ["at_sign"]
    parser = get_tool_parser("at_sign")()
    good = parser.extract_tool_calls('Look.\n@search {"query": "Dracula"}')
    assert (good.status, good.tool_calls[0].arguments) == (ParseStatus.CALL, {"query": "Dracula"})
    numbers = ("search 3", 'search {"n": NaN}', "search " + "9" * 5000)
    texts = ("", " {}", "search", 'search {"q": "\\ud83d"}', "search " + "[" * 3000)
    for written in (*numbers, *texts):
        found = parser.extract_tool_calls(f"\n@{written}")
        assert (found.status, found.tool_calls) == (ParseStatus.MALFORMED, []), written[:20]
        assert found.error


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_found_by_name_and_takes_a_tokenizer_and_tools(name):
    assert name in tool_parser_names()
    parser = get_tool_parser(name)(tokenizer=None, tools=[])
    assert isinstance(parser, ToolParser)
    assert parser.extract_tool_calls("no call").status is ParseStatus.NO_CALL


def test_both_names_of_the_qwen3_format_give_one_parser():
    assert get_tool_parser("qwen3_coder") is get_tool_parser("qwen3_xml")


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(
        ValueError,
        match=r"unknown tool parser 'nope'; known are .*hermes.*search_tags, sentences, and "
        r"vllm:NAME or verl:NAME .*@register_tool_parser.*load_tool_parser_plugin",
    ):
        get_tool_parser("nope")


def test_a_parser_of_ones_own_is_registered_by_name_and_the_later_one_wins():
    @register_tool_parser("own")
    class OwnParser(SearchTagsParser):
        """A format of one's own."""

    assert get_tool_parser("own") is OwnParser
    register_tool_parser("own")(HermesParser)
    assert get_tool_parser("own") is HermesParser


def test_a_built_in_format_can_be_replaced():
    register_tool_parser("hermes")(SearchTagsParser)
    assert get_tool_parser("hermes") is SearchTagsParser


@pytest.mark.parametrize("name", ["", "vllm:mine", "a:b"])
def test_a_name_that_would_be_taken_for_an_engine_is_refused(name):
    with pytest.raises(ValueError, match="is empty or holds a colon"):
        register_tool_parser(name)(HermesParser)
    with pytest.raises(ValueError, match="is empty or holds a colon"):
        register_lazy_tool_parser(name, "module", "Class")


@pytest.mark.parametrize("thing", [HermesParser(), dict, print])
def test_only_a_parser_class_can_be_registered(thing):
    with pytest.raises(TypeError, match=r"register a subclass of search_r1\.parsers\.ToolParser"):
        register_tool_parser("thing")(thing)


def test_a_lazy_parser_is_imported_when_it_is_asked_for(plugin, monkeypatch):
    folder = str(Path(plugin(PLUGIN, "lazy_parser_module.py")).parent)
    monkeypatch.syspath_prepend(folder)
    register_lazy_tool_parser("lazy", "lazy_parser_module", "ShoutParser")
    assert "lazy" in tool_parser_names()
    assert "lazy_parser_module" not in sys.modules
    assert get_tool_parser("lazy")().extract_tool_calls("who!").tools_called
    assert get_tool_parser("lazy") is get_tool_parser("lazy")


@pytest.mark.parametrize("class_name", ["Missing", "PYTHON_TAG"])
def test_a_lazy_parser_that_is_not_there_says_where_it_was_looked_for(class_name):
    register_lazy_tool_parser("lost", "search_r1.parsers.formats.llama3_json", class_name)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"'lost' was registered as {class_name} of search_r"):
            get_tool_parser("lost")


def test_a_plugin_file_registers_its_parsers(plugin):
    path = plugin(PLUGIN, "json.py")  # a name that must not shadow Python's own module
    assert load_tool_parser_plugin(path) == ["shout"]
    parsed = get_tool_parser("shout")().extract_tool_calls("Dracula!")
    assert parsed.tool_calls[0].arguments == {"query": "Dracula"}
    assert load_tool_parser_plugin(path) == ["shout"]
    assert not hasattr(sys.modules["json"], "ShoutParser")


def test_a_plugin_may_use_the_parsers_that_exist(plugin):
    source = """
from search_r1.parsers import get_tool_parser, register_tool_parser

@register_tool_parser("mine")
class Mine(get_tool_parser("mistral")):
    stop = ("STOP",)
"""
    assert load_tool_parser_plugin(plugin(source)) == ["mine"]
    assert get_tool_parser("mine").stop == ("STOP",)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("x = 1", "registers no parser; decorate a ToolParser subclass"),
        ("import no_such_module", r"plugin.py .*: line 1: ModuleNotFoundError: No module named"),
        ("x = 1\ndef broken(:", r"plugin.py does not import: line 2: SyntaxError"),
        ("def f():\n    raise KeyError('x')\n\nf()", r"plugin.py .*: line 2: KeyError: 'x'"),
        ("class P(ToolParser):\n    pass", r"plugin.py .*: line 1: NameError: name 'ToolParser'"),
    ],
)
def test_a_plugin_that_cannot_be_used_says_why(plugin, source, error):
    with pytest.raises(ValueError, match=error):
        load_tool_parser_plugin(plugin(source))


@pytest.mark.parametrize("name", ["missing.py", "plugin.txt", ""])
def test_a_plugin_that_is_no_python_file_is_refused(plugin, name):
    folder = Path(plugin(PLUGIN, "plugin.txt")).parent
    with pytest.raises(ValueError, match="is not a Python file; give the path"):
        load_tool_parser_plugin(str(folder / name))


def test_the_registry_imports_no_engine():
    code = (
        "import sys, search_r1.parsers as p\n"
        "[p.get_tool_parser(name) for name in p.tool_parser_names()]\n"
        "print({'torch', 'vllm', 'verl', 'transformers'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
