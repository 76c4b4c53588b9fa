import json
from pathlib import Path

import pytest

from search_r1.errors import LaunchError
from search_r1.launch.progress.watch import evaluation_em
from search_r1.summary import records, summarize
from search_r1.summary.records import Evaluation


def append(path: Path, row: dict[str, object]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


@pytest.mark.slow
def test_the_summary_has_what_a_run_promises(
    fabricated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert summarize.main([str(fabricated_run)]) == 0
    written = json.loads((fabricated_run / "summary.json").read_text())
    assert written["steps"] == 10
    assert written["em_before"] == pytest.approx(9 / 64)
    assert written["em_after"] == pytest.approx(22 / 64)
    assert written["em_questions"] == 64
    assert written["em_change_ci95"][0] < written["em_change"] < written["em_change_ci95"][1]
    assert written["searches_per_trajectory"] == pytest.approx(1.17, abs=0.05)
    trend = written["trends"]["searches_per_trajectory"]
    assert trend["first"] < trend["last"]
    assert written["wall_s"] == 660.0
    assert written["peak_rss_gb"] == 11.4
    assert written["versions"]["python"].startswith("3.")
    assert (fabricated_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert "held-out EM, 64 questions" in table
    assert "14.1%     34.4%" in table


def test_a_step_that_was_done_twice_counts_once_with_its_later_values(fabricated_run: Path) -> None:
    append(fabricated_run / "metrics.jsonl", {"step": 9, "timing_s/step": 1.0, "reward/em": 0.99})
    append(fabricated_run / "metrics.jsonl", {"step": 0, "val-core/nq/acc/mean@1": 0.2})
    metrics = records.read_metrics(fabricated_run)
    assert list(metrics) == list(range(11))
    assert metrics[9]["reward/em"] == 0.99
    assert len(records.training_steps(metrics)) == 10


def test_a_line_cut_off_by_a_kill_is_left_out(fabricated_run: Path) -> None:
    with (fabricated_run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "timing_s/st')
    assert list(records.read_metrics(fabricated_run))[-1] == 10


def test_a_trajectory_cut_off_by_a_kill_is_left_out(fabricated_run: Path) -> None:
    with (fabricated_run / "eval" / "step_000010.jsonl").open("a") as file:
        file.write('{"question": "qu')
    assert len(records.read_evaluations(fabricated_run)[-1].em_of) == 64


def test_the_interval_of_a_change_is_paired() -> None:
    keys = [("nq", i, "who?") for i in range(100)]
    before = Evaluation(0, {key: float(i < 50) for i, key in enumerate(keys)}, 0)
    after = Evaluation(9, {key: float(i < 60) for i, key in enumerate(keys)}, 0)
    change = records.compare(before, after)
    assert change is not None
    assert (change.before, change.after, change.questions) == (0.5, 0.6, 100)
    # Ten of a hundred improved and none fell: sd of the mean is sqrt(.1 * .9 / 100) = .03.
    assert change.low == pytest.approx(0.1 - 1.96 * 0.03, abs=0.015)
    assert change.high == pytest.approx(0.1 + 1.96 * 0.03, abs=0.015)
    unchanged = records.compare(before, before)
    assert unchanged is not None
    assert (unchanged.low, unchanged.high) == (0, 0), "unpaired, it would be +-14 points"


@pytest.mark.parametrize("number", [3, 33, 50, 107])
def test_the_wilson_interval_holds_a_share_at_either_end(number: int) -> None:
    assert records.wilson_interval(0.0, number)[0] == 0.0
    assert records.wilson_interval(1.0, number)[1] == 1.0


def test_the_wilson_interval_agrees_with_a_worked_example() -> None:
    evaluation = Evaluation(0, {("nq", i, ""): float(i < 5) for i in range(10)}, 0)
    low, high = evaluation.interval()  # 5 of 10: (5 + 1.92) / 13.84 -+ 0.2634
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_trajectories_that_infrastructure_ended_do_not_lower_the_score(
    fabricated_run: Path,
) -> None:
    lost: dict[str, object] = {
        "question": "question 0",
        "metadata": {"data_source": "triviaqa"},
        "stop_reason": "retriever_failed",
        "reward": {"em": 0.0},
    }
    (fabricated_run / "eval" / "step_000010.jsonl").write_text(json.dumps(lost) + "\n")
    assert [e.step for e in records.read_evaluations(fabricated_run)] == [0, 5]
    assert evaluation_em(fabricated_run, 10) is None
    append(fabricated_run / "eval" / "step_000005.jsonl", lost)
    last = records.read_evaluations(fabricated_run)[-1]
    assert evaluation_em(fabricated_run, 5) == (last.em, 64), "the progress line counts alike"
    assert last.num_failed == 1


def test_questions_are_told_apart_by_their_rows(tmp_path: Path) -> None:
    """Two files with the same question, or rows without one, are as many questions as rows."""
    (tmp_path / "eval").mkdir()
    path = tmp_path / "eval" / "step_000000.jsonl"
    for number in range(6):  # two samples of each of three rows
        row = {"data_source": "nq", "index": number // 2}
        append(path, {"question": "", "stop_reason": "answer", "metadata": row,
                      "reward": {"em": float(number in (0, 2, 3))}})  # fmt: skip
    (evaluation,) = records.read_evaluations(tmp_path)
    assert list(evaluation.em_of.values()) == [0.5, 1.0, 0.0]
    assert evaluation_em(tmp_path, 0) == (0.5, 3)


@pytest.mark.slow
def test_without_a_held_out_evaluation_there_is_still_a_summary(fabricated_run: Path) -> None:
    for path in (fabricated_run / "eval").iterdir():
        path.unlink()
    assert summarize.main([str(fabricated_run)]) == 0
    assert json.loads((fabricated_run / "summary.json").read_text())["em_after"] is None


def test_a_run_without_steps_is_an_error(
    fabricated_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fabricated_run / "metrics.jsonl").unlink()
    with pytest.raises(LaunchError, match="did not get as far as its first step"):
        records.read_metrics(fabricated_run)
    assert summarize.main([str(fabricated_run)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (fabricated_run / "summary.json").exists()
