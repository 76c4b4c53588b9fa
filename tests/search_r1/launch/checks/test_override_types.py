"""Overrides: every key of ours takes one, and a value of the wrong type is told."""

from pathlib import Path
from typing import Any

import pytest

from search_r1.errors import UsageError
from search_r1.launch import plan
from search_r1.launch.checks.override_types import check_types


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "overrides", "keys", "value"),
    [
        ("grpo_3b_8gpu", ["search_r1.reward.f1=1"], "reward.f1", 1),
        (
            "quickstart",
            ["search_r1.retriever.client.url=http://h:1", "search_r1.retriever.index=null"],
            "retriever.client.url",
            "http://h:1",
        ),
        (
            "grpo_3b_8gpu",
            ["search_r1.retriever.index=my-index", "search_r1.retriever.client.url=null"],
            "retriever.client.url",
            None,
        ),
        ("quickstart", ["search_r1.cold_start.batch_size=4"], "cold_start.batch_size", 4),
        ("quickstart", ["search_r1.cold_start=null"], "cold_start", None),
        ("quickstart", ["search_r1.evaluation=null"], "evaluation", None),
        ("grpo_3b_8gpu", [], "cold_start", None),
        ("grpo_3b_8gpu", ["search_r1.cold_start={questions: q, lr: 0.1}"], "cold_start.lr", 0.1),
        ("grpo_3b_8gpu", ["search_r1.cold_start.questions=q"], "cold_start.num_questions", 200),
        ("grpo_3b_8gpu", ["search_r1.evaluation.questions=q"], "evaluation.num_questions", 144),
    ],
)
def test_every_key_of_ours_takes_a_plain_override(
    tmp_path: Path, preset: str, overrides: list[str], keys: str, value: Any
) -> None:
    found: Any = plan.make_plan(preset, overrides, tmp_path).config["search_r1"]
    for key in keys.split("."):
        found = found.get(key)
    assert found == value


@pytest.mark.slow
def test_agent_loops_of_ones_own_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loops.yaml").touch()
    key = "actor_rollout_ref.rollout.agent.agent_loop_config_path"
    config = plan.make_plan("grpo_3b_8gpu", [f"{key}=loops.yaml"], tmp_path).config
    agent = config["actor_rollout_ref"]["rollout"]["agent"]
    assert agent["agent_loop_config_path"] == str(tmp_path / "loops.yaml")


DEFAULTS = {
    "steps": 12,
    "rate": 0.1,
    "is_on": True,
    "name": "x",
    "files": ["a"],
    "seed": None,
    "open": {},
    "part": {"n": 1},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 3),
        ("steps", None),
        ("rate", 1),
        ("name", ["a", "b"]),
        ("files", "a"),
        ("seed", "anything"),
        ("open", {"any": 1}),
        ("part", {"n": 2}),
    ],
)
def test_a_value_of_the_type_of_its_default_is_taken(key: str, value: Any) -> None:
    check_types(DEFAULTS | {key: value}, DEFAULTS, [key])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", "many", "steps=many is a text; expected a whole number such as 12."),
        ("steps", 1.5, "steps=1.5 is a number; expected a whole number such as 12."),
        ("steps", True, "steps=True is true or false; expected a whole number such as 12."),
        ("rate", "fast", "rate=fast is a text; expected a number such as 0.1."),
        ("is_on", 1, "is_on=1 is a whole number; expected true or false such as True."),
        ("name", 3, "name=3 is a whole number; expected a text (a number in quotes: '\"3\"')"),
        ("files", 3, "files=3 is a whole number; expected a list such as ['a']."),
        ("part", {"n": "two"}, "part.n=two is a text; expected a whole number such as 1."),
        ("open", "x", "open=x is a text; expected a mapping such as {}."),
    ],
)
def test_a_value_of_another_type_is_told(key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_types(DEFAULTS | {key: value}, DEFAULTS, [key])
    assert str(caught.value).startswith(message)


@pytest.mark.slow  # imports verl
def test_where_the_default_says_nothing_the_class_does() -> None:
    pytest.importorskip("verl")
    part = {"_target_": "verl.workers.config.SamplingConfig", "temperature": 0, "n": 1}
    part |= {"top_p": None}
    check_types({"part": part | {"temperature": 0.7}}, {"part": part}, ["part.temperature"])
    with pytest.raises(UsageError, match=r"part\.top_p=x is a text; expected a number\."):
        check_types({"part": part | {"top_p": "x"}}, {"part": part}, ["part.top_p"])
    with pytest.raises(UsageError, match=r"part\.n=1\.5 is a number; expected a whole"):
        check_types({"part": part | {"n": 1.5}}, {"part": part}, ["part.n"])


@pytest.mark.slow
def test_a_preset_tells_a_value_of_the_wrong_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trainer\.total_training_steps=many is a text"):
        plan.make_plan("quickstart", ["trainer.total_training_steps=many"], tmp_path)
