"""What went wrong in a trajectory is told by what can be seen in it."""

from eval.mistakes import Mistake, mistake_of, mistakes
from tests.trajectory_records import record


def test_a_mistake_is_put_down_to_what_caused_it():
    wrong = [
        record("k0", 1, 1),
        record("k1", 0, 0),
        record("u0", 0, 1, found="by Ada."),
        record("u1", 0, 1, found="by Eve.", question="what is q?"),
        record("u2", 0, 0, prediction=None, stop="response_length"),
        record("u3", 0, 1, prediction=None, stop="search_limit"),
        record("u4", 0, 1, prediction=None, stop="no_action"),
        record("u5", 0, 1, found="by Eve."),
    ]
    assert [(kind, r["uid"]) for kind, r in mistakes(wrong)] == [
        (Mistake.UNSEARCHED, "k1"),
        (Mistake.MISREAD, "u0"),
        (Mistake.NOT_FOUND, "u1"),
        (Mistake.LIMIT, "u2"),
        (Mistake.LIMIT, "u3"),
        (Mistake.NO_ANSWER, "u4"),
        (Mistake.QUERY, "u5"),
    ]


def test_a_query_is_bad_when_it_has_nothing_of_the_question_or_repeats_itself():
    twice = record("u0", 0, 2, found="by Eve.", question="what is q?")
    assert mistake_of(twice) is Mistake.QUERY
    twice["turns"] = [dict(turn) for turn in twice["turns"]]
    other = {"is_search": True, "status": "ok", "name": "search", "arguments": {"query": "r"}}
    twice["turns"][1]["calls"] = [other]
    assert mistake_of(twice) is Mistake.NOT_FOUND
    given = record("u1", 0, 0, method="rag")
    given["metadata"]["given_text"] = "Doc 1(Title: X) by Eve."
    assert mistake_of(given) is Mistake.NOT_FOUND


def test_a_turn_that_its_budget_cut_is_stopped_by_a_limit():
    cut = record("u0", 0, 1, prediction=None, stop="no_action")
    cut["turns"] = [cut["turns"][0] | {"stop_reason": "length"}]
    assert mistake_of(cut) is Mistake.LIMIT
