import io

import pytest

from data_prep.questions import Question, parse_answers, read_topics, usable_answers
from data_prep.steps import DataPrepError


def test_topics_are_read_in_order_with_line_numbers(make_jar):
    items = [("who wrote it", ["A B"]), ("it's \u2028 odd", ["don't", '"x"', "🚁"])]
    jar = io.BytesIO(make_jar({"nq.dev": items}))
    assert read_topics(jar, "nq.dev") == [
        Question("nq.dev-1", "who wrote it", ("A B",)),
        Question("nq.dev-2", "it's \u2028 odd", ("don't", '"x"', "🚁")),
    ]


def test_csv_quoted_answers_are_unwrapped():
    assert parse_answers('"[\'Boxer\', ""St John\'s""]"') == ("Boxer", "St John's")


@pytest.mark.parametrize("field", ["", "text", "['open", "{'a': 1}", "[1, 2]", "__import__('os')"])
def test_anything_but_a_list_of_strings_is_refused(field):
    with pytest.raises(ValueError, match=r"list|malformed"):
        parse_answers(field)


def test_missing_topics_file_says_what_to_do(make_jar):
    jar = io.BytesIO(make_jar({"nq.dev": []}))
    with pytest.raises(DataPrepError, match=r"topics\.nq\.test\.txt .*Delete the downloaded"):
        read_topics(jar, "nq.test")


def test_bad_topic_line_is_named(make_jar):
    jar = io.BytesIO(make_jar({"nq.dev": [("good", ["x"]), ("bad", "not a list")]}))
    with pytest.raises(DataPrepError, match=r"nq\.dev-2"):
        read_topics(jar, "nq.dev")


def test_answers_nothing_can_match_and_repeats_are_dropped():
    assert usable_answers(["The Beatles", "beatles!", "The", "?", "Beatles (band)"]) == (
        "The Beatles",
        "Beatles (band)",
    )
