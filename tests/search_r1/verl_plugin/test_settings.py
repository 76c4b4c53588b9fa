"""The search_r1 section of a training config, as a training process reads it."""

import pytest
from omegaconf import OmegaConf

from search_r1.verl_plugin.settings import read_settings


def read(**section):
    return read_settings(OmegaConf.create({"search_r1": section}))


def test_stages_are_off_unless_they_are_asked_for():
    settings = read()
    assert (settings.cold_start, settings.evaluation, settings.compute_dtype) == (None, None, None)
    assert read(cold_start=None, evaluation=None).cold_start is None


def test_stages_and_prices_are_read():
    settings = read(
        cold_start={"questions": "train.parquet", "num_questions": 50, "lr": 2e-4},
        evaluation={"questions": "test.parquet", "base_prompt": "two_shot"},
        reward={"em": 1.0, "searches": -0.15},
        compute_dtype="fp32",
    )
    assert settings.cold_start.num_updates == 10  # 2 * 50 demonstrations in batches of 10
    assert settings.evaluation.base_prompt == "two_shot"
    assert settings.reward.searches == -0.15
    assert settings.compute_dtype == "fp32"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"cold_start": {"questions": "q", "steps": 3}}, "unknown key .*'steps'"),
        ({"cold_start": {"num_questions": 3}}, "unknown key .*missing.*'questions'"),
        ({"cold_start": {"questions": "q", "batch_size": 3}}, "batch_size is 3; make it even"),
        ({"evaluation": {"questions": "q", "methods": []}}, "unknown key .*'methods'"),
        ({"evaluation": {"questions": "q", "num_questions": -1}}, "num_questions is -1"),
        ({"reward": {"f1": -1.0}}, "reward weight f1 is -1"),
        ({"reward": {"em": 0.0}}, "every reward weight is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(section, message):
    with pytest.raises(ValueError, match=message):
        read(**section)
