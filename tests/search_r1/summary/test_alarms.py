import json
import math
from pathlib import Path

import pytest

from search_r1.summary.alarms import WINDOW, Alarms, alarm_lines, alarms_of
from search_r1.summary.records import read_metrics, training_steps

DOCS = Path(__file__).parents[3] / "docs"


def step(number: int, **metrics: float) -> dict[str, float]:
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return {"step": number, "timing_s/step": 1.0, **named}


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("proof/seed-1", []),
        ("proof/seed-2", []),
        ("proof/seed-3", []),
        ("proof/ablations/quickstart", []),
        ("proof/ablations/collapse", [(9, "searches_all")]),
        ("proof/ablations/no-cost", [(12, "searches_all")]),
        ("runs/2026-11-24-quickstart", []),
        ("runs/2026-11-30-quickstart-bf16", []),
        ("runs/2026-11-30-quickstart-hermes", [(7, "low_entropy"), (11, "searches_all")]),
        ("runs/2026-11-22-quickstart-hermes", [(4, "form")]),
        ("runs/2026-12-01-quickstart", []),
        ("runs/2026-12-01-quickstart-hermes", [(12, "searches_nothing")]),
    ],
)
def test_recorded_runs_that_learned_are_quiet_and_those_that_did_not_give_alarm(run, told):
    steps = training_steps(read_metrics(DOCS / run))
    assert [(alarm.step, alarm.name) for alarm in alarms_of(steps.values())] == told


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("searches_all", {"knowledge__known__searched": 1.0}),
        ("searches_nothing", {"search__no_search_rate": 1.0}),
        ("low_entropy", {"search__sampled_entropy_nats": 0.05}),
        ("form", {"search__valid_turn_rate": 0.3}),
        ("lost", {"retriever__failure_rate": 0.2}),
        ("no_signal", {"critic__advantages__min": 0.0, "critic__advantages__max": 0.0}),
    ],
)
def test_what_lasts_for_some_steps_is_told_once_until_it_was_over(name, metrics):
    bad = [step(number, **metrics) for number in range(1, 2 * WINDOW + 1)]
    assert [(alarm.step, alarm.name) for alarm in alarms_of(bad)] == [(WINDOW, name)]
    over = [step(number) for number in range(11, 11 + WINDOW)]
    again = [step(number, **metrics) for number in range(21, 21 + WINDOW)]
    assert next(alarm.step for alarm in alarms_of(bad + over + again)) == WINDOW
    assert len(alarms_of(bad + over + again)) == 2


def test_a_single_bad_step_says_nothing():
    steps = [step(number, search__no_search_rate=0.5) for number in range(1, 9)]
    steps[4]["search/no_search_rate"] = 1.0
    assert alarms_of(steps) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_told_at_once(value):
    (alarm,) = Alarms().update(step(1, actor__grad_norm=value))
    assert alarm.name == "not_finite"
    assert f"actor/grad_norm is {value}" in alarm.text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_told_from_what_verls_logger_writes(tmp_path, value):
    orjson = pytest.importorskip("orjson")
    written = [orjson.dumps(step(number, actor__grad_norm=value)) for number in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(written))
    (alarm,) = alarms_of(read_metrics(tmp_path).values())
    assert (alarm.step, alarm.name) == (1, "not_finite")
    assert "actor/grad_norm is nan" in alarm.text


def test_a_line_that_only_holds_a_validation_is_no_step():
    assert Alarms().update({"step": 0, "actor/grad_norm": math.nan}) == []


def test_a_table_shows_the_first_alarms_and_how_many_more():
    alarms = [{"step": n, "name": "form", "text": "what"} for n in range(7)]
    lines = alarm_lines(json.loads(json.dumps(alarms)))
    assert lines[0] == "alarm       step 0: what"
    assert lines[-1].split() == ["and", "2", "more", "in", "summary.json"]
    assert len(lines) == 6
