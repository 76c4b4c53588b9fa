import pytest

from data_prep.overlap import check_disjoint, drop_repeats, question_key
from data_prep.questions import Question
from data_prep.quickstart_questions import tidy_topics
from data_prep.steps import DataPrepError


def ask(*texts):
    return [Question(str(n), text, ("x",)) for n, text in enumerate(texts)]


def test_questions_are_the_same_apart_from_case_punctuation_and_articles():
    assert question_key("Who wrote the Iliad?") == question_key("who wrote  iliad")
    assert question_key("who wrote iliad") != question_key("who read iliad")


def test_first_of_equal_questions_is_kept_and_taken_ones_are_dropped():
    kept = drop_repeats(ask("Who is A?", "who is a", "Who is B?", "?"), taken={"who is b"})
    assert [question.id for question in kept] == ["0"]


def test_test_question_in_train_is_found():
    check_disjoint(["who is x"], ["who is y"])
    with pytest.raises(DataPrepError, match=r"1 test question.* also in train.*'who is y'"):
        check_disjoint(["who is x", "Who is Y?"], ["who is y"])


def test_question_twice_in_one_file_is_found():
    with pytest.raises(DataPrepError, match="of train are there twice"):
        check_disjoint(["who is x", "Who is X?"], ["who is y"])


def test_test_questions_of_one_source_leave_train_of_the_other():
    topics = tidy_topics(
        train={"nq": ask("shared one", "only nq"), "triviaqa": ask("shared two", "Only NQ?", "t")},
        test={"nq": ask("Shared two?"), "triviaqa": ask("Shared one?", "SHARED TWO")},
    )
    assert [q.text for q in topics["nq"].train] == ["only nq"]
    assert [q.text for q in topics["triviaqa"].train] == ["t"]
    assert [q.text for q in topics["triviaqa"].test] == ["Shared one?"]
    assert topics["nq"].counts["train_also_in_test_removed"] == 1


def test_test_question_without_usable_answer_still_counts_for_overlap():
    unanswerable = [Question("0", "shared", ("The",))]
    topics = tidy_topics(train={"nq": ask("Shared?")}, test={"nq": unanswerable})
    assert topics["nq"].train == []
    assert topics["nq"].test == []
