import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.serving.limits import Limits
from retriever.serving.wire import QueryHits, RefusedError, read_request, write_answer, write_rows
from retriever.types import Hit, Passage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "queries": st.lists(st.text(max_size=9)) | st.lists(VALUES) | VALUES,
        "query": st.text(max_size=9) | VALUES,
        "topk": st.integers(-5, 1500) | VALUES,
        "top_k": VALUES,
        "return_scores": st.booleans() | VALUES,
        "more": VALUES,
    },
)


def check_one_of_two_outcomes(body):
    try:
        outcome = read_request(body, Limits())
    except RefusedError as refused:
        outcome = refused
    if isinstance(outcome, RefusedError):
        assert outcome.status in (400, 422)
        assert len(str(outcome)) < 400
    else:
        assert all(type(query) is str for query in outcome.queries)
        assert type(outcome.top_k) is int
        assert 1 <= outcome.top_k <= 1000
        assert type(outcome.is_scored) is bool


@pytest.mark.slow
@given(BODIES | VALUES)
def test_any_json_is_understood_or_refused(row):
    check_one_of_two_outcomes(json.dumps(row).encode())


@given(st.binary(max_size=64))
def test_any_bytes_are_understood_or_refused(body):
    check_one_of_two_outcomes(body)


def test_an_integer_may_be_written_with_a_fraction_of_zero():
    assert read_request(b'{"queries": ["a"], "topk": 3.0}', Limits()).top_k == 3


def test_fields_that_are_not_known_are_ignored():
    wanted = read_request(b'{"queries": ["a"], "user": {"id": 1}}', Limits())
    assert (wanted.queries, wanted.top_k, wanted.is_scored) == (["a"], 3, False)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HITS = st.builds(
    Hit, st.builds(Passage, TEXT, TEXT, TEXT), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(st.lists(HITS, max_size=4), max_size=3), st.integers(1, 5), st.booleans())
def test_an_answer_holds_the_best_hits_of_every_query(found, top_k, is_scored):
    answer = write_answer([QueryHits(9, write_rows(hits)) for hits in found], top_k, is_scored)
    rows = [
        [
            {
                "document": {
                    "id": hit.passage.id,
                    "title": hit.passage.title,
                    "text": hit.passage.text,
                    "contents": hit.passage.contents,
                },
                "score": hit.score,
            }
            for hit in hits[:top_k]
        ]
        for hits in found
    ]
    plain = [[row["document"] for row in hits] for hits in rows]
    assert orjson.loads(answer) == {"result": rows if is_scored else plain}


@pytest.mark.parametrize(("n_rows", "covered"), [(5, 5), (2, 1000)])
def test_an_answer_covers_what_was_asked_or_all_there_is(n_rows, covered):
    found = QueryHits(5, (b"{}",) * n_rows)
    assert found.covers(covered)
    assert found.covers(covered + 1) == (n_rows < 5)


@pytest.mark.parametrize("depth", [254, 300, 1000])
@pytest.mark.parametrize("body", ['{"queries": [%s]}', '{"queries": ["a"], "topk": %s}'])
def test_a_deeply_nested_value_is_shown_by_its_beginning(body, depth):
    nested = "[" * depth + "]" * depth
    with pytest.raises(RefusedError, match=r" is \[{77}\.\.\.; expected") as refused:
        read_request((body % nested).encode(), Limits())
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('["é", null, {"b": 1.5}]', '["é",null,{"b":1.5}]'),
        ('"' + "x" * 1_000_000 + '"', '"' + "x" * 76 + "..."),
        ('{"' + "x" * 1_000_000 + '": 1}', '{"' + "x" * 75 + "..."),
        ("[1" + ",1" * 1_000_000 + "]", "[1" + ",1" * 37 + ",..."),
    ],
)
def test_a_wrong_value_is_shown_as_json_and_not_at_length(value, shown):
    with pytest.raises(RefusedError) as refused:
        read_request(b'{"queries": ["a"], "topk": %b}' % value.encode(), Limits())
    assert str(refused.value).startswith(f"topk is {shown}; expected an integer")
