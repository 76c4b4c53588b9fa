"""Overrides: every key of ours takes one, and a value of the wrong type is told."""

from pathlib import Path
from typing import Any

import pytest

from search_r1.launch import plan


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
