"""What the stages around training need is refused at the start when it is missing."""

from typing import Any

import pytest

from search_r1.errors import LaunchError
from search_r1.launch.checks.stages import STAGE_CHECKS, remark_on_prompt


@pytest.fixture
def config() -> dict[str, Any]:
    """A config with both stages, which passes."""
    return {
        "search_r1": {
            "prompt": "bare",
            "cold_start": {"questions": "train.parquet"},
            "evaluation": {"questions": "test.parquet"},
        },
        "actor_rollout_ref": {
            "model": {"path": "m", "lora_rank": 0},
            "actor": {"checkpoint": {"save_contents": ["model", "hf_model"]}},
        },
        "trainer": {"save_freq": 5, "device": "cpu", "n_gpus_per_node": 1},
    }


def check(config: dict[str, Any]) -> None:
    for one in STAGE_CHECKS:
        one(config)


def test_a_config_with_what_its_stages_need_passes(config: dict[str, Any]) -> None:
    check(config)


def test_an_evaluation_needs_a_checkpoint_it_can_load(config: dict[str, Any]) -> None:
    config["trainer"]["save_freq"] = -1
    message = r"save_freq=-1 and .*save_contents=\['model', 'hf_model'\].*search_r1.evaluation=null"
    with pytest.raises(LaunchError, match=message):
        check(config)
    config["trainer"]["save_freq"] = 5
    config["actor_rollout_ref"]["actor"]["checkpoint"]["save_contents"] = ["model"]
    with pytest.raises(LaunchError, match=r"save_freq=5 and .*save_contents=\['model'\]"):
        check(config)
    config["search_r1"]["evaluation"] = None
    check(config)


@pytest.mark.parametrize(("key", "value"), [("lora_rank", 8), ("lora_adapter_path", "adapter")])
def test_the_stages_are_refused_with_lora(config: dict[str, Any], key: str, value: Any) -> None:
    config["actor_rollout_ref"]["model"][key] = value
    message = rf"cold_start and search_r1.evaluation take whole models.*model\.{key}={value} trains"
    with pytest.raises(LaunchError, match=message):
        check(config)
    config["search_r1"] |= {"cold_start": None, "evaluation": None}
    check(config)


def test_a_prompt_without_a_call_is_told_where_nothing_teaches_it(config: dict[str, Any]) -> None:
    assert remark_on_prompt(config) is None
    config["search_r1"]["cold_start"] = None
    config["search_r1"]["evaluation"]["base_prompt"] = "two_shot_hermes"
    assert "Add search_r1.prompt=two_shot_hermes" in (remark_on_prompt(config) or "")
    config["search_r1"]["prompt"] = "two_shot"
    assert remark_on_prompt(config) is None
