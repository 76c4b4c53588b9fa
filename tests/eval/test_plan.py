"""A plan names several models, and how each answers."""

import json

import pytest

from data_prep.steps import DataPrepError
from eval.answerers import read_plan


def test_a_plan_names_several_models_and_their_files(tmp_path):
    plan = [
        {"name": "base", "model": "m0", "prompt": "two_shot", "methods": ["search:greedy"]},
        {"name": "trained", "model": "m1", "methods": ["search:greedy", "search_never:sampled"]},
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    base, trained = read_plan(tmp_path / "plan.json")
    assert (base.model, base.prompt, trained.prompt) == ("m0", "two_shot", None)
    assert [one.path.name for one in trained.passes(tmp_path)] == [
        "trained.search.greedy.jsonl",
        "trained.search_never.sampled.jsonl",
    ]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "5",
        '[{"name": "a"}]',
        '[{"name": "a", "model": "m", "methods": ["search:boldly"]}]',
        '[{"name": "a", "model": "m", "methods": ["guess"]}]',
        '["a"]',
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataPrepError, match=r"plan.json is no plan: .*expected a JSON list of"):
        read_plan(path)
