"""IRCoT on the one loop: lines are searches, passages are given, the last turn must answer."""

import pytest

from eval.measures import searches
from eval.methods import METHODS
from eval.prompts import IRCOT
from search_r1.loop import LoopConfig
from search_r1.parsers import get_tool_parser
from search_r1.verify import find_problems
from tests.run_readers import read_lines


@pytest.fixture
def records(run, pass_of):
    one = pass_of("ircot")
    run(one)
    return {record["question"]: record for record in read_lines(one.path)}


def test_every_line_is_searched_for_until_an_answer_is_written(records, searcher):
    known = records["who wrote Dracula?"]
    assert known["metadata"]["given"] == ["1"]
    assert [turn["model_text"] for turn in known["turns"]] == [
        " So the answer is: <answer>Bram Stoker</answer>"
    ]
    assert searches(known) == 1, "the question itself was searched for"
    assert searcher.queries.count("who wrote Dracula?") == 1


def test_after_the_last_search_it_is_made_to_answer(records, searcher):
    unknown = records["who is number 1?"]
    *lines, last = unknown["turns"]
    assert [turn["call"]["arguments"]["query"] for turn in lines] == ["Dracula is a novel."] * 4
    assert searches(unknown) == 5
    assert last["opening"] == " So the answer is: <answer>"
    assert lines[-1]["observation_text"].endswith("\nThought: So the answer is: <answer>")
    assert not lines[0]["observation_text"].endswith("<answer>")
    assert (unknown["stop_reason"], unknown["prediction"]) == ("answer", "Dublin")


def test_a_trajectory_is_token_in_token_out(records, parts):
    for record in records.values():
        assert not list(find_problems(record, parts.codec.decode))


def test_the_examples_show_a_line_as_the_loop_goes_on_after_one():
    (message,) = IRCOT.build("who?", "Doc 1(Title: A) b", with_examples=True)
    text = message["content"]
    assert text.endswith("</information>\nQuestion: who?\nThought:")
    parser = get_tool_parser("sentences")()
    line = " Paris is the capital of France.\n"
    given = parser.format_results(
        ["Doc 1(Title: Paris) Paris lies on the Seine, in northern France."]
    )
    assert f"Thought:{line}{given} It lies on the river Seine. So the answer is:" in text


def test_it_may_search_as_often_as_the_model_and_at_least_once():
    limits = METHODS["ircot"].limits
    assert limits(LoopConfig(max_calls=3)).max_calls == 3
    assert limits(LoopConfig(max_calls=0)).max_calls == 1
