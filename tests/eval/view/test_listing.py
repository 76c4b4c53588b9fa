"""Filter, search, order, and the same question elsewhere."""

import pytest

from eval.view.collection import Collection
from eval.view.listing import Wish, choose, facets, related, verdict_in
from eval.view.places import find_places


@pytest.fixture
def collections(results):
    found = [Collection(place) for place in find_places([results])]
    for one in found:
        one.refresh()
    return found


def numbers(entries):
    return [int(entry.uid.removeprefix("facts/")) for entry in entries]


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        ({}, [0, 1, 2, 3]),
        ({"is_descending": True}, [3, 2, 1, 0]),
        ({"verdict": "wrong"}, [2]),
        ({"verdict": "right", "words": "NUMBER"}, [1]),
        ({"words": "zÜRICH"}, [3]),
        ({"words": "facts/2"}, [2]),
        ({"words": "stoker"}, [0, 1, 2, 3]),  # gold answers, too
        ({"searched": "yes"}, []),
        ({"searched": "no", "source": "facts"}, [0, 1, 2, 3]),
        ({"source": "unknown"}, []),
        ({"sort": "question"}, [3, 1, 2, 0]),
        ({"sort": "reward"}, [2, 0, 1, 3]),
        ({"sort": "reward", "is_descending": True}, [0, 1, 3, 2]),
        ({"step": 1}, []),
    ],
)
def test_the_list_holds_what_is_wanted_in_the_wanted_order(collections, wish, wanted):
    assert numbers(choose(collections[0].entries, Wish(**wish))) == wanted


def test_only_questions_that_ended_otherwise_in_another_run_are_compared(collections):
    one, two = collections
    assert numbers(choose(one.entries, Wish(versus=two))) == [1, 3]
    assert [verdict_in(two, entry) for entry in one.entries] == ["right", "wrong", "wrong", "none"]
    assert verdict_in(None, one.entries[0]) is None


def test_related_begins_with_the_group_and_goes_on_elsewhere(run_dir, collections):
    (steps,) = [Collection(place) for place in find_places([run_dir])]
    steps.refresh()
    entry = steps.entry_of("s2q1_1")
    found = related([*collections, steps], entry, steps)
    assert [one["uid"] for one in found if one["is_group"]] == [f"s2q1_{n}" for n in range(4)]
    assert [one["uid"] for one in found if not one["is_group"]] == [f"s1q1_{n}" for n in range(4)]
    (own, other) = related(collections, collections[0].entries[1], collections[0])
    assert (own["run"], other["run"], other["verdict"]) == (
        "one.search.greedy", "two.search.greedy", "wrong",
    )  # fmt: skip


def test_what_can_be_chosen_from_is_what_there_is(collections, run_dir):
    assert facets(collections[0]) == {"steps": [], "sources": ["known", "facts"]}
    (steps,) = [Collection(place) for place in find_places([run_dir])]
    steps.refresh()
    assert facets(steps)["steps"] == [1, 2]
