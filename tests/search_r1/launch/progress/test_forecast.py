"""How long is left, against numbers worked by hand."""

import pytest

from search_r1.launch.progress.forecast import (
    StageForecast,
    TrainingForecast,
    evaluated_steps,
    rest_s,
)
from search_r1.runs.progress import Progress


def at(stage: str, began_at: float, done: int = 0, total: int = 0, **rest: object) -> Progress:
    return Progress(stage, done, total, began_at=began_at, written_at=began_at, **rest)  # type: ignore[arg-type]


def test_the_rest_of_a_stage_moves_from_what_was_expected_to_its_own_rate() -> None:
    nothing_done = at("rollout", 0.0, 0, 40)
    assert rest_s(nothing_done, 10.0, None) is None
    assert rest_s(nothing_done, 10.0, 30.0) == 20.0
    assert rest_s(nothing_done, 50.0, 30.0) == 0.0
    half_done = at("rollout", 0.0, 20, 40)
    assert rest_s(half_done, 10.0, None) == 10.0
    assert rest_s(half_done, 10.0, 50.0) == pytest.approx(0.5 * 10 + 0.5 * 40)
    assert rest_s(at("rollout", 0.0, 1, 40), 10.0, None) is None, "a fortieth says nothing"
    assert rest_s(at("rollout", 0.0, 40, 40), 10.0, 50.0) == 0.0


def test_a_stage_counts_what_follows_it() -> None:
    cold_start = StageForecast(expected_s=100.0, after_s=300.0)
    assert cold_start.left_s(None, now=1030.0, began_at=1000.0) == 70 + 300
    assert cold_start.left_s(at("cold_start", 1000.0, 20, 40), 1060.0, 1000.0) == (
        0.5 * 60 + 0.5 * 40 + 300
    )
    assert StageForecast().left_s(None, 1030.0, 1000.0) is None
    unknown = StageForecast(expected_s=100.0, after_s=None)
    assert unknown.left_s(None, 1030.0, 1000.0) is None


def test_a_stage_of_several_alike_counts_those_to_come() -> None:
    second_of_three = at("evaluate", 1000.0, 48, 96, step=2, steps=3)
    # 30 s for half of it: 30 s more, then one of 60 s.
    assert StageForecast().left_s(second_of_three, 1030.0, 900.0) == 90.0


def test_training_goes_by_the_probe_until_the_run_has_measured_itself() -> None:
    forecast = TrainingForecast(
        steps=4,
        evaluated=frozenset({0, 4}),
        start_s=60.0,
        step_s=50.0,
        evaluation_s=100.0,
        after_s=10.0,
    )
    assert forecast.left_s(None, 1020.0, 1000.0) == 40 + 4 * 50 + 2 * 100 + 10
    assert forecast.starting_s(None) == forecast.starting_s(at("start", 1000.0, 1, 3)) == 60.0
    assert forecast.starting_s(at("rollout", 1000.0)) is None
    evaluation = at("evaluate", 1060.0, 48, 96, step=0, steps=4)
    assert forecast.left_s(evaluation, 1120.0, 1000.0) == (0.5 * 60 + 0.5 * 40 + 4 * 50 + 100 + 10)
    # The evaluation took 80 s, so the last one will.
    rollout = at("rollout", 1140.0, 0, 48, step=1, steps=4)
    assert forecast.left_s(rollout, 1150.0, 1000.0) == 40 + 3 * 50 + 80 + 10
    # The update of step 1 is 25 s in, 55 s after the step began, and a third done.
    update = at("update", 1170.0, 2, 6, step=1, steps=4)
    assert forecast.left_s(update, 1195.0, 1000.0) == pytest.approx(50 + 3 * 50 + 80 + 10)
    forecast.measure({"step": 1, "timing_s/step": 90.0})
    second = at("rollout", 1230.0, 0, 48, step=2, steps=4)
    assert forecast.left_s(second, 1240.0, 1000.0) == 80 + 2 * 90 + 80 + 10
    # The first step warms up, so the second alone counts.
    forecast.measure({"step": 2, "timing_s/step": 40.0, "timing_s/testing": 70.0})
    third = at("rollout", 1270.0, 0, 48, step=3, steps=4)
    assert forecast.left_s(third, 1280.0, 1000.0) == 30 + 40 + 70 + 10


def test_nothing_is_said_before_anything_is_known() -> None:
    forecast = TrainingForecast(steps=4, evaluated=frozenset())
    assert forecast.left_s(None, 10.0, 0.0) is None
    assert forecast.left_s(at("rollout", 0.0, 1, 48, step=1), 10.0, 0.0) is None
    forecast.measure({"step": 1, "val-core/nq/acc/mean@1": 0.1})
    assert forecast.step_s is None
    forecast.measure({"step": 1, "timing_s/step": 40.0})
    assert forecast.left_s(at("rollout", 50.0, 0, 48, step=2), 60.0, 0.0) == 30 + 2 * 40
    assert TrainingForecast(steps=None, evaluated=frozenset(), step_s=9).left_s(None, 1, 0) is None


def test_verl_evaluates_before_every_so_often_and_at_the_end() -> None:
    trainer = {"total_training_steps": 10, "test_freq": 4, "val_before_train": True}
    assert evaluated_steps(trainer) == {0, 4, 8, 10}
    assert evaluated_steps(trainer | {"val_before_train": False}, first=4) == {8, 10}
    assert evaluated_steps(trainer | {"test_freq": -1}) == {0}
