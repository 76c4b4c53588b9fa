"""How long a run takes, against numbers worked by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from search_r1.launch.progress import outlook
from search_r1.launch.progress.estimate import Overheads, Speeds, advise, estimate, tell
from search_r1.processes.service import Service

SPEEDS = Speeds(train=100.0, read=400.0, write=200.0)
NOTHING = Overheads(0.0, 0.0, 0.0, 0.0, 0.0)


def config_of(**changes: Any) -> dict[str, Any]:
    """48 trajectories a step, of one search and one passage at most."""
    return {
        "search_r1": {"top_k": 1, "loop": {"max_calls": 1, "max_observation_tokens": 112}}
        | changes.pop("search_r1", {}),
        "data": {"train_batch_size": 6, "val_max_samples": 96} | changes.pop("data", {}),
        "actor_rollout_ref": {
            "actor": {"ppo_epochs": 1, "use_kl_loss": False},
            "rollout": {"n": 8, "val_kwargs": {"n": 1}},
        },
        "algorithm": {"adv_estimator": "grpo", "rollout_correction": {"bypass_mode": True}}
        | changes.pop("algorithm", {}),
        "critic": {"enable": None},
        "trainer": {"total_training_steps": 10, "test_freq": -1, "val_before_train": False}
        | changes.pop("trainer", {}),
    }


def test_a_step_is_what_is_read_written_and_trained() -> None:
    made = estimate(config_of(), SPEEDS, prompt_tokens=20.0, overheads=NOTHING)
    # 6 prompts of 20 tokens, 48 passages of 58; 48 times two turns of 12.3; all of it trained.
    rollout = (6 * 20 + 48 * 58) / 400 + 48 * 2 * 12.3 / 200
    update = 48 * (20 + 58 + 2 * 12.3) / 100
    assert made.step_s == pytest.approx(rollout + update)
    assert made.parts_s == {"training": pytest.approx(10 * (rollout + update))}


def test_a_second_pass_over_the_batch_takes_its_third() -> None:
    plain = estimate(config_of(), SPEEDS, 20.0, overheads=NOTHING).step_s
    algorithm = {"adv_estimator": "grpo", "rollout_correction": None}
    with_old = estimate(config_of(algorithm=algorithm), SPEEDS, 20.0, overheads=NOTHING).step_s
    assert with_old - plain == pytest.approx(48 * (20 + 58 + 24.6) / 100 / 3)


def test_evaluations_within_training_are_counted() -> None:
    trainer = {"test_freq": 5, "val_before_train": True}
    made = estimate(config_of(trainer=trainer), SPEEDS, 20.0, overheads=NOTHING)
    assert made.evaluation_s == pytest.approx((96 * 20 + 96 * 58) / 400 + 96 * 24.6 / 200)
    assert made.total_s == pytest.approx(10 * made.step_s + 3 * made.evaluation_s)


def test_cold_start_and_final_evaluations_are_parts_of_their_own() -> None:
    section = {
        "cold_start": {"questions": "q", "num_questions": 100, "epochs": 2},
        "evaluation": {"questions": "q", "num_questions": 144},
    }
    config = config_of(search_r1={"top_k": 1, "loop": {"max_calls": 1}} | section)
    made = estimate(config, SPEEDS, 20.0, overheads=NOTHING)
    # 400 passes over demonstrations, half of one turn and half of two with a passage.
    direct, searching = 20 + 12.3, 20 + 58 + 24.6
    assert made.parts_s["cold start"] == pytest.approx(400 * (direct + searching) / 2 / 100)
    once = (144 * 20 + 144 * 0.6 * 58) / 400 + 144 * 1.6 * 12.3 / 200
    # Six passes: the base model, two after the cold start, three of the trained one.
    assert made.parts_s["evaluation"] == pytest.approx(6 * once)
    assert list(made.parts_s) == ["demonstrations", "cold start", "training", "evaluation"]
    again = estimate(config, SPEEDS, 20.0, has_cold_start=True, overheads=NOTHING)
    assert "cold start" not in again.parts_s


def test_a_resumed_run_has_the_rest_of_its_steps_to_do() -> None:
    made = estimate(config_of(), SPEEDS, 20.0, resumed_step=7, overheads=NOTHING)
    assert made.steps == 3
    assert made.total_s == pytest.approx(3 * made.step_s)


def test_what_takes_more_than_half_an_hour_gets_the_steps_that_fit() -> None:
    config = config_of(trainer={"total_training_steps": 100})
    overheads = Overheads(training_start=120.0, step=4.0)
    made = estimate(config, SPEEDS, 20.0, overheads=overheads)
    # (1800 - 120) s, 66.5 s a step: 25 steps.
    assert made.step_s == pytest.approx(7.26 + 5.904 + 49.248 + 4)
    assert advise(made, config) == (
        "30 minutes are enough for trainer.total_training_steps=25 (now 100)."
    )
    assert tell(made) == "about 113 minutes from here: training 113"
    short = estimate(config_of(), SPEEDS, 20.0, overheads=overheads)
    assert advise(short, config_of()) is None


def test_when_no_step_fits_the_other_levers_are_named() -> None:
    section = {"evaluation": {"questions": "q", "num_questions": 4000}}
    config = config_of(search_r1={"loop": {"max_calls": 1}} | section)
    advice = advise(estimate(config, SPEEDS, 20.0), config)
    assert advice is not None
    assert "search_r1.evaluation.num_questions=1000 (now 4000)" in advice
    assert "actor_rollout_ref.rollout.n=4 (now 8)" in advice


def test_each_stage_learns_what_is_expected_of_it_and_after_it() -> None:
    parts = {"cold start": 100, "training": 400, "evaluation": 60}
    known = outlook.Outlook({"parts_s": parts, "start_s": 90, "step_s": 30, "evaluation_s": 5})
    assert (known.stage("cold start").expected_s, known.stage("cold start").after_s) == (100, 460)
    assert known.stage("own").after_s is None, "nobody knows what follows what nobody expected"
    trainer = {"total_training_steps": 10, "val_before_train": False}
    training = known.training({"trainer": trainer}, 0)
    assert (training.start_s, training.step_s, training.after_s) == (90, 30, 60)
    assert outlook.Outlook().training({"trainer": trainer}, 0).step_s is None


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import time; time.sleep(60)"])
def test_a_probe_that_fails_or_hangs_costs_the_run_nothing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outlook, "_PATIENCE_S", 0.2)
    command = [sys.executable, "-c", code]
    with Service("probe", command, tmp_path / "probe.log", {}, tmp_path) as probe:
        assert outlook.ask(probe, tmp_path).estimate is None
    assert "could not be measured" in capsys.readouterr().out


def test_the_probes_figures_are_told_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"parts_s": {"training": 60}, "line": "about 1.0 minutes from here", "advice": None}
    (tmp_path / "estimate.json").write_text(json.dumps(left))
    with Service("probe", ["true"], tmp_path / "probe.log", {"PATH": "/bin"}, tmp_path) as probe:
        kept = outlook.ask(probe, tmp_path)
    assert kept.estimate == {"parts_s": {"training": 60}}
    assert "about 1.0 minutes from here" in capsys.readouterr().out
    assert not (tmp_path / "estimate.json").exists()
