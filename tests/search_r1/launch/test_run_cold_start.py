"""The launcher's cold start: done once, begun from by every run that asks for the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_r1.runs import layout

DRIVER = str(Path(__file__).with_name("drive_run.py"))
ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index, and room for artifacts and runs."""
    folder = tmp_path_factory.mktemp("world")
    corpus = ROOT / "tests" / "tiny" / "passages.jsonl"
    build = ["-m", "retriever.build", "--corpus", str(corpus), "--index", str(folder / "index")]
    command = [sys.executable, *build, "--kind", "bm25"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder


def run(world: Path, name: str, mode: str) -> "subprocess.CompletedProcess[str]":
    """Run the launcher with a stand-in for the cold start and for the trainer."""
    env = dict(os.environ) | {"FAKE_TRAINER": "succeed", "FAKE_COLD_START": mode}
    env |= {"PYTHONPATH": str(ROOT), "SEARCH_R1_ARTIFACTS": str(world / "artifacts" / mode)}
    command = [sys.executable, DRIVER, str(world / "index"), str(world / name)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_cold_start_is_made_once_and_begun_from_after_that(world: Path) -> None:
    first = run(world, "first", "succeed")
    assert first.returncode == 0, first.stderr
    (folder,) = (world / "artifacts" / "succeed" / "cold_start").iterdir()
    assert f"Cold start: demonstrations first, then training on them, in {folder}" in first.stdout
    second = run(world, "second", "succeed")  # the stand-in would fail: the model is there
    assert second.returncode == 0, second.stderr
    assert f"Beginning from the cold start in {folder}: nothing" in second.stdout
    assert "Cold start: demonstrations" not in second.stdout
    for name in ("first", "second"):
        config: Any = yaml.safe_load((world / name / "config.yaml").read_text())
        assert config["actor_rollout_ref"]["model"]["path"] == str(folder / "model")
        assert config["search_r1"]["cold_start"] is None, "this model needs none"
        notes = json.loads((world / name / "launch.json").read_text())
        assert notes["base_model"] == "hub/model"
        assert notes["cold_start"]["folder"] == str(folder)
        assert notes["cold_start"]["seconds"] == 1.5
        assert notes["parts"][0]["stages_s"]["cold_start"] >= 0
        summary = json.loads((world / name / "summary.json").read_text())
        assert summary["cold_start"]["seconds"] == 1.5


def test_a_cold_start_that_fails_ends_the_run_in_its_own_words(world: Path) -> None:
    failed = run(world, "failed", "fail")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: the cold start ended with exit code 1. The last errors")
    assert failed.stderr.endswith("ValueError: there are too few demonstrations\n")
    assert not (world / "failed" / "summary.json").exists()
    config: Any = yaml.safe_load((world / "failed" / "config.yaml").read_text())
    assert config["actor_rollout_ref"]["model"]["path"] == "hub/model"


def test_two_runs_do_not_make_the_same_cold_start_at_once(world: Path) -> None:
    assert run(world, "one", "fail").returncode == 1
    (folder,) = (world / "artifacts" / "fail" / "cold_start").iterdir()
    with layout.occupy(folder):
        other = run(world, "other", "fail")
    assert other.returncode == 1
    assert other.stderr.startswith(f"error: another launcher is working in {folder}; wait for it")
