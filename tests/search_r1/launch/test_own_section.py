"""Our keys of a config: all of them in common.yaml, and none replaced or ignored without a word."""

import copy
from dataclasses import MISSING, fields
from typing import Any

import pytest
import yaml

from search_r1.assembly import FormatConfig
from search_r1.client.config import SearchClientConfig
from search_r1.cold_start import ColdStartConfig
from search_r1.errors import UsageError
from search_r1.evaluation import EvaluationConfig
from search_r1.launch.own_section import settle
from search_r1.loop import LoopConfig
from search_r1.rewards import RewardConfig
from search_r1.runs.places import CONFIGS

COMMON = yaml.safe_load((CONFIGS / "common.yaml").read_text())


def defaults_of(kind: Any) -> dict[str, Any]:
    """Give every field of a settings class; null where it has no default."""
    made = {
        one.name: one.default_factory() if one.default_factory is not MISSING else one.default
        for one in fields(kind)
    }
    return {name: None if value is MISSING else value for name, value in made.items()}


def test_common_yaml_has_every_key_of_ours_with_its_default() -> None:
    settings = pytest.importorskip("search_r1.verl_plugin.settings")
    wanted = defaults_of(settings.SearchSettings)
    del wanted["form"]  # its keys stand directly in the section
    wanted |= defaults_of(FormatConfig)
    wanted |= {"loop": defaults_of(LoopConfig), "reward": defaults_of(RewardConfig)}
    wanted |= {"cold_start": defaults_of(ColdStartConfig)}
    wanted |= {"evaluation": defaults_of(EvaluationConfig)}
    wanted["retriever"] = defaults_of(settings.RetrieverSettings)
    wanted["retriever"]["client"] = defaults_of(SearchClientConfig)
    wanted["env"] = {"VERL_USE_EXTERNAL_MODULES": "search_r1.verl_plugin"}
    assert COMMON["search_r1"] == wanted


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(COMMON)


@pytest.mark.parametrize("name", ["cold_start", "evaluation"])
def test_a_stage_is_on_once_it_names_its_questions(config: dict[str, Any], name: str) -> None:
    settle(config)
    assert config["search_r1"][name] is None
    settle(config)  # a config without the section is as good
    assert config["search_r1"][name] is None
    config["search_r1"][name] = {"questions": "rows.parquet", "num_questions": 3}
    settle(config)
    assert config["search_r1"][name]["num_questions"] == 3


def test_a_stages_setting_without_its_questions_is_refused(config: dict[str, Any]) -> None:
    config["search_r1"]["cold_start"]["batch_size"] = 4
    with pytest.raises(UsageError, match=r"cold_start\.batch_size=4, but .*questions is null, so"):
        settle(config)


@pytest.mark.parametrize("path", ["search_r1.run_dir", "trainer.default_local_dir"])
def test_a_folder_that_the_run_sets_itself_is_refused(config: dict[str, Any], path: str) -> None:
    part, key = path.split(".")
    config[part][key] = "/mine"
    with pytest.raises(UsageError, match=rf"{path}=/mine cannot be chosen: .*SEARCH_R1_RUNS"):
        settle(config)


@pytest.mark.parametrize(
    ("part", "key"), [("retriever.client", "token"), ("env", "RETRIEVER_TOKEN")]
)
def test_a_token_is_refused_without_being_shown(
    config: dict[str, Any], part: str, key: str
) -> None:
    section = config["search_r1"]
    for name in part.split("."):
        section = section[name]
    section[key] = "open-sesame"
    with pytest.raises(UsageError, match="in the environment variable RETRIEVER_TOKEN") as caught:
        settle(config)
    assert "open-sesame" not in str(caught.value)


def test_without_an_address_the_client_has_none(config: dict[str, Any]) -> None:
    config["search_r1"]["retriever"]["client"]["url"] = None
    settle(config)
    assert "url" not in config["search_r1"]["retriever"]["client"]
