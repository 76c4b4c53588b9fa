"""Every tool parser of the installed vLLM, used as a parser of rollouts."""

import sys
from pathlib import Path

import pytest

from search_r1.parsers import ParseStatus, get_tool_parser, load_tool_parser_plugin
from search_r1.types import ToolCall

pytestmark = pytest.mark.slow  # importing vLLM takes seconds

EXAMPLE = Path(__file__).with_name("example_plugin.py")
OLD = "vllm.entrypoints.openai.tool_parsers"
JUNK = [
    "",
    " ",
    "no call at all",
    "{",
    "[]",
    "[[[[{}",
    "</tool_call>",
    "\\",
    '{"name": 3}',
    "\x00é😀",
]


@pytest.fixture(scope="module")
def parsers(samples, marked_tokenizer):
    """One parser for each of vLLM's names that can be used here."""
    return {
        name: get_tool_parser(f"vllm:{name}")(marked_tokenizer, [samples.WEATHER])
        for name in samples.VLLM_SAMPLES
    }


def test_every_parser_of_vllm_is_known_here(samples):
    from vllm import tool_parsers

    ours = samples.VLLM_SAMPLES.keys() | samples.VLLM_UNAVAILABLE.keys()
    assert tool_parsers._TOOL_PARSERS_TO_REGISTER.keys() == ours


def test_every_parser_reads_a_call_of_its_format(samples, parsers):
    wanted = ToolCall("get_weather", {"city": "Dublin", "days": 2})
    for name, text in samples.VLLM_SAMPLES.items():
        found = parsers[name].extract_tool_calls(text)
        assert (found.status, found.tool_calls) == (ParseStatus.CALL, [wanted]), name
        assert found.unfinished is None, name
        assert found.end == len(text), name
        assert parsers[name].extract_tool_calls(text) == found, f"{name} keeps state"


def test_no_parser_raises_on_junk_or_on_half_a_call(samples, parsers):
    for name, sample in samples.VLLM_SAMPLES.items():
        cut = [sample[:end] for end in range(0, len(sample), 7)]
        for text in [*JUNK, *cut, sample + sample, *(text + sample for text in JUNK)]:
            found = parsers[name].extract_tool_calls(text)
            assert (found.error is None) == (found.status is not ParseStatus.MALFORMED), (
                name,
                text,
            )


def test_parsers_that_cannot_be_used_are_refused_with_the_reason(samples, marked_tokenizer):
    reasons = {"cohere": "cohere_melody", "minimax_m3": "Rust", "openai": "harmony"}
    for name in samples.VLLM_UNAVAILABLE:
        with pytest.raises(ValueError, match=reasons[name.partition("_command")[0]]):
            get_tool_parser(f"vllm:{name}")(marked_tokenizer)


def test_an_unknown_name_lists_vllms_parsers():
    with pytest.raises(ValueError, match=r"no tool parser 'hermess'; it has .*hermes, .*xlam"):
        get_tool_parser("vllm:hermess")


def test_a_tokenizer_without_the_formats_tokens_is_refused(bpe_tokenizer):
    with pytest.raises(ValueError, match="DeepSeekV3ToolParser cannot be made with"):
        get_tool_parser("vllm:deepseek_v3")(bpe_tokenizer)


def test_a_call_that_vllm_drops_in_silence_is_malformed(parsers):
    found = parsers["hermes"].extract_tool_calls('<tool_call>{"name": "get_weather",</tool_call>')
    assert (found.status, found.tool_calls, found.unfinished) == (ParseStatus.MALFORMED, [], None)
    assert found.error == "a tool call was begun that could not be read"
    cut = parsers["hermes"].extract_tool_calls('I look. <tool_call>{"name": "get_wea')
    assert (cut.status, cut.unfinished) == (ParseStatus.MALFORMED, len("I look. "))


def test_tools_of_the_request_give_arguments_their_types(samples, marked_tokenizer):
    parser = get_tool_parser("vllm:qwen3_coder")(marked_tokenizer)
    text = samples.VLLM_SAMPLES["qwen3_coder"]
    assert parser.extract_tool_calls(text).tool_calls[0].arguments["days"] == "2"
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = ChatCompletionRequest(
        messages=[{"role": "user", "content": "?"}], tools=[samples.WEATHER]
    )
    assert parser.extract_tool_calls(text, request).tool_calls[0].arguments["days"] == 2


def test_streamed_pieces_add_up_to_the_call(samples, parsers):
    for name in ("hermes", "qwen3_coder", "llama3_json", "pythonic"):
        for _ in range(2):  # the second turn of one instance begins anew
            pieces, text = [], ""
            for char in samples.VLLM_SAMPLES[name]:
                delta = parsers[name].extract_tool_calls_streaming(
                    text, text + char, char, [], [], []
                )
                pieces += delta.tool_calls if delta else ()
                text += char
            assert [piece.name for piece in pieces if piece.name] == ["get_weather"], name
            arguments = "".join(piece.arguments for piece in pieces)
            assert arguments == '{"city": "Dublin", "days": 2}', name


def test_stop_strings_are_an_option(samples, marked_tokenizer):
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    parser = get_tool_parser("vllm:hermes")(marked_tokenizer, stop=["</tool_call>"])
    assert parser.stop == ("</tool_call>",)
    request = ChatCompletionRequest(
        messages=[{"role": "user", "content": "?"}], tools=[samples.WEATHER], stop="END"
    )
    adjusted = parser.adjust_request(request)
    assert adjusted.stop == ["END", "</tool_call>"]
    assert adjusted.include_stop_str_in_output
    assert not adjusted.skip_special_tokens  # vLLM's own adjustment


def test_results_cannot_close_their_tag(parsers):
    written = parsers["hermes"].format_results(["a </tool_response> b", "c"])
    assert written == (
        "\n<tool_response>\na < /tool_response> b\n</tool_response>"
        "\n<tool_response>\nc\n</tool_response>\n"
    )
    error = parsers["hermes"].format_error("a city is missing")
    assert "a city is missing" in error
    assert error.endswith("To answer, write <answer>answer</answer>.\n")


def test_results_cannot_bring_the_markers_that_the_engines_parser_tells(parsers):
    for name in ("hermes", "mistral", "deepseek_v3"):
        assert parsers[name].markers, name
        for marker in parsers[name].markers:
            written, plain = (parsers[name].format_results([text]) for text in (marker, ""))
            assert written.count(marker) == plain.count(marker), (name, marker)


def test_the_example_of_vllms_documentation_loads_and_runs_unchanged(marked_tokenizer, caplog):
    assert load_tool_parser_plugin(str(EXAMPLE)) == ["example"]
    parser = get_tool_parser("example")(marked_tokenizer)
    for _ in range(2):  # its body names a variable that is not there, as in the documentation
        found = parser.extract_tool_calls("some text")
        assert (found.status, found.content) == (ParseStatus.NO_CALL, "some text")
    assert parser.extract_tool_calls_streaming("", "s", "s", [], [1], [1]) is None
    warnings = [r for r in caplog.records if "ExampleToolParser raised" in r.getMessage()]
    assert len(warnings) == 1, "said once, not once a turn"


@pytest.mark.parametrize("module", ['"vllm.tool_parsers.example"', '"lazy_example"', "__name__"])
def test_a_lazy_registration_as_vllms_documentation_has_it_is_taken(
    marked_tokenizer, tmp_path, module
):
    name = f"lazy_{len(module)}"
    source = EXAMPLE.read_text(encoding="utf-8")
    source = source.replace('@ToolParserManager.register_module(["example"])', "")
    source += (
        f"\n\nToolParserManager.register_lazy_module(\n    name={name!r},\n"
        f'    module_path={module},\n    class_name="ExampleToolParser",\n)\n'
    )
    file = tmp_path / "lazy_example.py"
    file.write_text(source, encoding="utf-8")
    for _ in range(2):
        assert load_tool_parser_plugin(str(file)) == [name]
    found = get_tool_parser(name)(marked_tokenizer).extract_tool_calls("some text")
    assert (found.status, found.content) == (ParseStatus.NO_CALL, "some text")


def test_a_plugin_that_gives_back_what_it_should_not_has_read_no_call(marked_tokenizer):
    from types import SimpleNamespace

    from vllm.tool_parsers import ToolParser

    from search_r1.parsers.engines.vllm_adapter import adapt_class

    class Careless(ToolParser):
        given = None

        def extract_tool_calls(self, model_output, request):
            return self.given

        def extract_tool_calls_streaming(self, *pieces):
            return self.given

    parser = adapt_class(Careless)(marked_tokenizer)
    for given in (None, "x", SimpleNamespace(tools_called=True, tool_calls=[None], content=None)):
        Careless.given = given
        found = parser.extract_tool_calls("some text")
        assert (found.status, found.content) == (ParseStatus.NO_CALL, "some text")
        assert parser.extract_tool_calls_streaming("", "s", "s", [], [1], [1]) is None


def test_old_import_paths_end_with_their_context():
    from search_r1.parsers.engines.vllm_adapter import old_import_paths

    with old_import_paths():
        from vllm.entrypoints.openai.tool_parsers.hermes_tool_parser import Hermes2ProToolParser
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser as Present

    assert Hermes2ProToolParser is Present
    assert not [name for name in sys.modules if name.startswith(OLD)]
    with pytest.raises(ModuleNotFoundError):
        __import__(OLD)
