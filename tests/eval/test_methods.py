"""What a method makes the first turn begin with."""

import pytest

from eval.methods import METHODS, decoding_named
from search_r1.answers import find_answer
from search_r1.loop import LoopConfig
from search_r1.parsers import get_tool_parser
from search_r1.types import ToolCall

SEARCH = ToolCall("search", {"query": "Dracula's author"})


def test_a_model_left_alone_begins_as_it_likes():
    assert METHODS["search"].opening(get_tool_parser("pythonic")()) == ""


@pytest.mark.parametrize("parser", ["search_tags", "hermes"])
def test_a_forced_answer_begins_with_its_tag(parser):
    opening = METHODS["search_never"].opening(get_tool_parser(parser)())
    assert find_answer(f"{opening}Paris</answer>")[0] == "Paris"


@pytest.mark.parametrize(
    ("name", "options", "opening"),
    [
        ("search_tags", {}, "<search>"),
        ("search_tags", {"search_tag": "ask"}, "<ask>"),
        ("hermes", {}, '<tool_call>\n{"name": "search", "arguments": {"query": "'),
    ],
)
def test_a_forced_search_begins_as_its_format_writes_one(name, options, opening):
    parser = get_tool_parser(name)(**options)
    assert METHODS["search_always"].opening(parser) == opening
    written = parser.write_call(SEARCH)
    assert written.startswith(opening)
    rest = written.removeprefix(opening)
    assert parser.extract_tool_calls(opening + rest).tool_calls == [SEARCH]


def test_a_format_that_writes_no_calls_cannot_be_made_to_search():
    with pytest.raises(ValueError, match="does not write calls"):
        METHODS["search_always"].opening(get_tool_parser("mistral")())


def test_decodings_are_greedy_or_as_in_training_with_a_seed():
    names = ("greedy", "sampled", "sampled7")
    assert [(one.temperature, one.seed) for one in map(decoding_named, names)] == [
        (0.0, 0),
        (1.0, 0),
        (1.0, 7),
    ]
    for wrong in ("", "sampledx", "beam"):
        with pytest.raises(ValueError, match="unknown decoding"):
            decoding_named(wrong)


def test_methods_with_a_prompt_that_shows_no_call_never_search():
    own = LoopConfig(max_calls=3, max_nudges=1, max_turn_tokens=7)
    searching = {name for name, one in METHODS.items() if one.limits(own).max_calls}
    assert searching == {"search", "search_always", "search_never", "ircot"}
    assert METHODS["rag"].limits(own).max_turn_tokens == 7


@pytest.mark.parametrize("name", ["direct", "cot", "rag", "oracle"])
@pytest.mark.parametrize("with_examples", [False, True])
def test_a_prompt_ends_with_the_question_and_shows_the_answers_tags(name, with_examples):
    (message,) = METHODS[name].prompt.build("who is  it", "Doc 1(Title: A) b", with_examples)
    assert message["content"].endswith("Question: who is it?\n")
    assert "</answer>" in message["content"]
    assert ("Doc 1(Title: A) b" in message["content"]) == (name in ("rag", "oracle"))
    assert ("<think>" in message["content"]) == (name == "cot")
