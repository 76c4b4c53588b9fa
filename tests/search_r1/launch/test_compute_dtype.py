"""The launcher chooses the type models compute in, once for everything that computes."""

import copy
from pathlib import Path
from typing import Any

import pytest

import processor
from search_r1.errors import UsageError
from search_r1.launch import plan
from search_r1.launch.compute_dtype import fill_compute_dtype

OTHER = {"bf16": "fp32", "fp32": "bf16"}
ROLLOUT = {"bf16": "bfloat16", "fp32": "float32"}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Fill a small CPU config on a machine that is fast at one type; gives the config."""

    def fill(fast: str, device: str = "cpu", chosen: str | None = None, **own: Any) -> Any:
        monkeypatch.setattr(processor, "fast_dtype", lambda: fast)
        config: dict[str, Any] = copy.deepcopy(
            {
                "trainer": {"device": device},
                "search_r1": {"compute_dtype": chosen},
                "actor_rollout_ref": {
                    "actor": {"fsdp_config": {"mixed_precision": own.get("actor")}},
                    "ref": {"fsdp_config": {"mixed_precision": None}},
                    "rollout": {"dtype": own.get("rollout")},
                },
                "critic": {"fsdp": {"mixed_precision": None}},
            }
        )
        fill_compute_dtype(config)
        return config

    return fill


def places(config: Any) -> tuple[Any, ...]:
    part = config["actor_rollout_ref"]
    return (
        part["actor"]["fsdp_config"]["mixed_precision"],
        part["ref"]["fsdp_config"]["mixed_precision"],
        config["critic"]["fsdp"]["mixed_precision"],
        part["rollout"]["dtype"],
    )


@pytest.mark.parametrize("fast", ["bf16", "fp32"])
def test_all_that_compute_get_what_the_processor_is_fast_at(make: Any, fast: str) -> None:
    config = make(fast)
    training = {"param_dtype": fast, "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    assert places(config) == (training, training, training, ROLLOUT[fast])
    assert config["search_r1"]["compute_dtype"] == fast


@pytest.mark.parametrize("fast", ["bf16", "fp32"])
def test_an_override_wins_over_the_processor(make: Any, fast: str) -> None:
    config = make(fast, chosen=OTHER[fast])
    assert {place["param_dtype"] for place in places(config)[:3]} == {OTHER[fast]}
    assert places(config)[3] == ROLLOUT[OTHER[fast]]
    assert config["search_r1"]["compute_dtype"] == OTHER[fast]


def test_what_was_set_at_one_place_stays_there(make: Any) -> None:
    own = {"param_dtype": "bf16", "reduce_dtype": "bf16", "buffer_dtype": "fp32"}
    actor, reference, critic, rollout = places(make("fp32", actor=own, rollout="float16"))
    assert (actor, rollout) == (own, "float16")
    assert reference["param_dtype"] == critic["param_dtype"] == "fp32"


@pytest.mark.parametrize("value", ["bfloat16", "fp16", "", "auto"])
def test_an_unknown_type_is_refused(make: Any, value: str) -> None:
    with pytest.raises(UsageError, match=rf"compute_dtype is '{value}'; .*bf16, fp32, or null"):
        make("fp32", chosen=value)


def test_gpu_presets_are_left_alone_and_refuse_the_key(make: Any) -> None:
    assert places(make("fp32", device="cuda")) == (None, None, None, None)
    with pytest.raises(UsageError, match=r"compute_dtype=fp32 is for presets on CPUs; on GPUs set"):
        make("fp32", device="cuda", chosen="fp32")


@pytest.mark.slow
@pytest.mark.parametrize("fast", ["bf16", "fp32"])
def test_the_quickstarts_plan_holds_the_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fast: str
) -> None:
    monkeypatch.setattr(processor, "fast_dtype", lambda: fast)
    config = plan.make_plan("quickstart", [], tmp_path).config
    assert places(config)[3] == ROLLOUT[fast]
    assert {place["param_dtype"] for place in places(config)[:3]} == {fast}
    other = plan.make_plan("quickstart", [f"search_r1.compute_dtype={OTHER[fast]}"], tmp_path)
    assert other.config["search_r1"]["compute_dtype"] == OTHER[fast]
