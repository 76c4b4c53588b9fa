"""The demo takes the newest run that compared its models, and says what it misses."""

import json

import pytest
import yaml

from data_prep.steps import DataPrepError
from eval.answerers import read_plan
from eval.demo import main, newest_run, plan_demo


@pytest.fixture
def make_run(tmp_path):
    """Make a run's folder as the launcher leaves it, with its three models."""

    def make(name, is_compared=True, is_finished=True):
        run_dir = tmp_path / "runs" / "quickstart" / name
        (run_dir / "eval").mkdir(parents=True)
        places = {place: tmp_path / name / place for place in ("base", "cold_start", "trained")}
        for place in (*places.values(), tmp_path / name / "index"):
            place.mkdir(parents=True)
        section = {"retriever": {"index": str(tmp_path / name / "index")}, "env": {"A": "1"}}
        config = {"search_r1": section, "trainer": {"device": "cpu"}}
        (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
        if is_compared:
            plan = [
                {"name": place, "model": str(model), "prompt": None, "methods": ["search:greedy"]}
                for place, model in places.items()
            ]
            (run_dir / "eval" / "plan.json").write_text(json.dumps(plan))
        if is_finished:
            (run_dir / "summary.json").write_text("{}")
        return run_dir

    return make


def test_the_newest_finished_run_is_taken(make_run, tmp_path):
    make_run("2026-01-01_00-00-00")
    taken = make_run("2026-01-02_00-00-00")
    make_run("2026-01-03_00-00-00", is_compared=False)
    make_run("2026-01-04_00-00-00", is_finished=False)
    assert newest_run(tmp_path / "runs" / "quickstart") == taken


def test_every_model_answers_directly_over_what_is_found_and_by_searching(make_run, tmp_path):
    demo = plan_demo(make_run("2026-01-01_00-00-00"))
    (tmp_path / "plan.json").write_text(json.dumps(demo.answerers))
    answerers = read_plan(tmp_path / "plan.json")
    assert [one.name for one in answerers] == ["base", "cold_start", "trained"]
    assert {one.methods for one in answerers} == {("direct:greedy", "rag:greedy", "search:greedy")}


def test_what_is_missing_is_named_with_what_to_run_first(make_run, tmp_path):
    first = r"; run \./train\.sh quickstart first"
    with pytest.raises(
        DataPrepError, match="holds no finished run that compared its models" + first
    ):
        newest_run(tmp_path / "runs" / "quickstart")
    run_dir = make_run("2026-01-01_00-00-00")
    (tmp_path / run_dir.name / "trained").rmdir()
    with pytest.raises(DataPrepError, match="trained, which is not there any more" + first):
        plan_demo(run_dir)
    (run_dir / "config.yaml").write_text("5")
    with pytest.raises(DataPrepError, match="is no run that compared its models .*" + first):
        plan_demo(run_dir)


def test_a_dry_run_says_whom_it_would_ask(make_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEARCH_R1_RUNS", str(tmp_path / "runs"))
    assert main(["--dry-run"]) == 1
    assert "run ./train.sh quickstart first" in capsys.readouterr().err
    run_dir = make_run("2026-01-01_00-00-00")
    out = tmp_path / "out"
    assert main(["--dry-run", "--out", str(out), "--number", "7"]) == 0
    told = capsys.readouterr().out
    assert f"models of {run_dir}" in told
    assert "trained: " in told
    assert f"7 questions of each of the offline sets; results go to {out / run_dir.name}" in told
    assert not out.exists()
