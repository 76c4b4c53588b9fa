import re

import pytest

from search_r1.observations import number_passages
from search_r1.parsers.formats.hermes import HermesParser
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.prompts import build_prompt, prompt_names
from search_r1.types import Passage

RAW = [name for name in prompt_names() if name != "two_shot_hermes"]


@pytest.mark.parametrize("name", RAW)
def test_a_raw_prompt_is_one_user_message_that_ends_with_the_question(name):
    (message,) = build_prompt(name, "who wrote Dracula")
    assert message["role"] == "user"
    assert message["content"].endswith("Question: who wrote Dracula?\n")
    for tag in ("<search>", "<information>", "<answer>"):
        assert (tag in message["content"]) == (name != "bare")


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("who  wrote\n Dracula ", "who wrote Dracula?"),
        ("who wrote Dracula?", "who wrote Dracula?"),
        ("Name the author of Dracula.", "Name the author of Dracula."),
        ("what is {x} and {question} and %s", "what is {x} and {question} and %s?"),
        ("富士山 は", "富士山 は?"),
    ],
)
@pytest.mark.parametrize("name", prompt_names())
def test_a_question_is_tidied_and_nothing_in_it_is_filled_in(name, question, asked):
    last = build_prompt(name, question)[-1]
    assert last["role"] == "user"
    assert last["content"].endswith(f"Question: {asked}\n" if name in RAW else asked)


def test_the_calls_of_the_hermes_prompt_are_read_by_the_hermes_parser():
    messages = build_prompt("two_shot_hermes", "q")
    assert [m["role"] for m in messages[1:5]] == ["user", "assistant", "tool", "assistant"]
    shown = [HermesParser().extract_tool_calls(m["content"]) for m in messages]
    assert [call.name for parsed in shown for call in parsed.tool_calls] == ["search", "search"]
    passage = Passage("1", "Dracula", "Dracula is an 1897 novel by Irish author Bram Stoker.")
    assert messages[3]["content"] == number_passages([passage])


def worked_examples():
    """List every worked example of every prompt as the text from its search to its answer's tag."""
    texts = [build_prompt(name, "q")[0]["content"] for name in RAW]
    return [
        match[0]
        for text in texts
        for match in re.finditer(r"<search>[^<]*</search>\n.*?<answer>", text, re.S)
    ]


def test_worked_examples_show_passages_as_the_parser_writes_them():
    assert worked_examples()
    for example in worked_examples():
        query, title, text = re.search(
            r"<search>(.*)</search>.*\(Title: (.*?)\) (.*)</info", example, re.S
        ).groups()
        shown = SearchTagsParser().format_results([number_passages([Passage("1", title, text)])])
        assert example == f"<search>{query}</search>{shown}<answer>"
        assert SearchTagsParser().extract_tool_calls(example).tool_calls[0].arguments == {
            "query": query
        }


def test_an_unknown_prompt_lists_those_that_exist():
    with pytest.raises(
        ValueError, match=f"unknown prompt 'x'; known are {', '.join(prompt_names())}"
    ):
        build_prompt("x", "q")


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(question):
    with pytest.raises(ValueError, match="the question is empty"):
        build_prompt("search_r1", question)
