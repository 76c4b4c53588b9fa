import re

import pytest

from search_r1.parsers.search_tags import SearchTagsParser
from search_r1.prompts import build_prompt, prompt_names
from search_r1.types import Passage


@pytest.mark.parametrize("name", prompt_names())
def test_a_prompt_is_one_user_message_that_ends_with_the_question(name):
    (message,) = build_prompt(name, "who wrote Dracula")
    assert message["role"] == "user"
    assert message["content"].endswith("Question: who wrote Dracula?\n")
    for tag in ("<search>", "<information>", "<answer>"):
        assert tag in message["content"]


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
    assert build_prompt(name, question)[0]["content"].endswith(f"Question: {asked}\n")


def worked_examples():
    """List every worked example of every prompt as the text from its search to its answer's tag."""
    texts = [build_prompt(name, "q")[0]["content"] for name in prompt_names()]
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
        shown = SearchTagsParser().format_observation([Passage("1", title, text)])
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
