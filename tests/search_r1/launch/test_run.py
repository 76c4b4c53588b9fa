"""The launcher from end to end, with the real retrieval server and a stand-in for the trainer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_r1.launch.environment import training_environment
from search_r1.processes.environment import base_environment, format_cores
from search_r1.processes.marked import find_marked

DRIVER = str(Path(__file__).with_name("drive_run.py"))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "bm25"
    corpus = ROOT / "tests" / "tiny" / "passages.jsonl"
    build = ["-m", "retriever.build", "--corpus", str(corpus), "--index", str(folder)]
    command = [sys.executable, *build, "--kind", "bm25"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder


def start(index: Path, run_dir: Path, mode: str, **more: str) -> "subprocess.Popen[str]":
    env = dict(os.environ) | {"FAKE_TRAINER": mode, "PYTHONPATH": str(ROOT)} | more
    pipe = subprocess.PIPE
    command = [sys.executable, DRIVER, str(index), str(run_dir)]
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)


def part_of(run_dir: Path) -> dict[str, Any]:
    notes = json.loads((run_dir / "launch.json").read_text())
    part: dict[str, Any] = notes["parts"][-1]
    return part


def run_id_of(run_dir: Path) -> str:
    run_id: str = part_of(run_dir)["run_id"]
    return run_id


@pytest.mark.slow
def test_a_run_ends_with_a_summary_and_nothing_left(index: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    launcher = start(index, run_dir, "succeed")
    out, err = launcher.communicate()
    assert launcher.returncode == 0, err
    assert "step 2 of 2, EM 0.25, reward 0.50, 1 s" in out
    assert "  about 40 minutes from here: training 40\n" in out
    assert "  That is more than 30 minutes. 30 minutes are enough for trainer.total" in out
    assert json.loads((run_dir / "launch.json").read_text())["estimate"]["step_s"] == 1140
    assert "quickstart: 2 steps of 36 trajectories" in out
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["steps"] == 2
    assert summary["peak_rss_gb"] > 0
    assert summary["stages_s"]["launch/train"] > 0
    written = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert written["search_r1"]["retriever"]["client"]["url"].startswith("http://127.0.0.1:")
    assert (run_dir / "curves.png").exists()
    assert find_marked(run_id_of(run_dir)) == []
    assert not (run_dir / "logs" / "ray").exists(), "Ray's logs are kept only after a failure"


@pytest.mark.slow
def test_a_guarded_retriever_of_the_launchers_own_is_ready_and_the_token_stays_secret(
    index: Path, tmp_path: Path
) -> None:
    run_dir, token = tmp_path / "run", "open-sesame-4711"
    launcher = start(index, run_dir, "search", RETRIEVER_TOKEN=token)
    out, err = launcher.communicate()
    assert launcher.returncode == 0, err
    assert token not in out + err
    left = [path for path in run_dir.rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if token.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_failed_training_is_told_in_its_own_words(index: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    launcher = start(index, run_dir, "fail")
    _, err = launcher.communicate()
    assert launcher.returncode == 1
    assert err.startswith("error: training ended with exit code 1. The last errors of ")
    assert err.endswith("    ValueError: the batch is empty\n")
    assert not (run_dir / "summary.json").exists()
    assert (run_dir / "logs" / "ray" / "raylet.out").exists()
    assert find_marked(run_id_of(run_dir)) == []
    part = part_of(run_dir)
    assert part["stages_s"]["total"] >= part["stages_s"]["train"] > 0


@pytest.mark.slow
def test_a_run_stopped_in_its_evaluation_is_summed_up_and_goes_on_with_that_alone(
    index: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    stopped = start(index, run_dir, "succeed", FAKE_EVALUATION="fail")
    out, err = stopped.communicate()
    assert stopped.returncode == 1
    assert "error: the evaluation ended with exit code 1." in err
    assert "from start to end" not in out, "the table comes at the end"
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["steps"], summary["unfinished"]) == (2, "evaluation")
    resumed = start(index, run_dir, "fail", FAKE_EVALUATION="succeed", IS_TRAINED="1")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert "Its training is done; what is left is the evaluation." in out
    assert "Starting Ray" not in out
    assert "How long will it take" not in out
    assert json.loads((run_dir / "summary.json").read_text())["unfinished"] is None
    notes = json.loads((run_dir / "launch.json").read_text())
    assert (len(notes["parts"]), notes["unfinished"]) == (2, None)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_nothing_running(
    index: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run_dir = tmp_path / "run"
    launcher = start(index, run_dir, "hang")
    assert launcher.stdout is not None
    assert any("step 2 of 2" in line for line in launcher.stdout), "it got to its second step"
    run_id = run_id_of(run_dir)
    assert len(find_marked(run_id)) == 3, "retriever, trainer, and the trainer's daemon"
    deadline = time.monotonic() + 10
    while "retriever" not in part_of(run_dir)["stages_s"] and time.monotonic() < deadline:
        time.sleep(0.02)  # the notes follow the line
    launcher.send_signal(number)
    launcher.communicate()
    is_killed = number == signal.SIGKILL
    assert launcher.returncode == (-number if is_killed else 128 + number)
    deadline = time.monotonic() + (15 if is_killed else 0)
    while find_marked(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert find_marked(run_id) == []
    part = part_of(run_dir)
    assert part["stages_s"]["total"] > part["stages_s"]["retriever"], "noted while it ran"
    assert part["memory"]["peak_gb"] > 0


@pytest.mark.slow
def test_a_retriever_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    launcher = start(tmp_path / "no-index", tmp_path / "run", "succeed")
    _, err = launcher.communicate()
    assert launcher.returncode == 1
    assert err.startswith("error: the retrieval server ended with exit code ")
    assert "no index at" in err


@pytest.mark.parametrize(
    ("cores", "text"), [({0, 1}, "0-1"), ({0, 2, 3, 4, 7}, "0,2-4,7"), ({5}, "5")]
)
def test_cores_are_written_the_way_vllm_reads_them(cores: set[int], text: str) -> None:
    assert format_cores(cores) == text


def test_a_cpu_run_uses_every_core_and_its_own_ray(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "trainer": {"device": "cpu"},
        "actor_rollout_ref": {"model": {"path": str(tmp_path)}},
        "search_r1": {"env": {"VERL_PLATFORM": "cpu"}},
        "ray_kwargs": {"ray_init": {"address": "local"}},
    }
    base = {"RAY_ADDRESS": "10.0.0.1:6379", "PATH": "/bin"}
    environment = training_environment(config, tmp_path, base, Path("/tmp/short"))
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == format_cores(os.sched_getaffinity(0))
    assert environment["VERL_PLATFORM"] == "cpu"
    assert environment["HF_HUB_OFFLINE"] == "1", "the model is a local folder"
    assert "RAY_ADDRESS" not in environment
    config["ray_kwargs"]["ray_init"]["address"] = "auto"
    joined = training_environment(config, tmp_path, base, Path("/tmp/short"))
    assert joined["RAY_ADDRESS"] == "10.0.0.1:6379"


def test_a_device_chosen_in_the_shell_does_not_reach_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VERL_PLATFORM", "VERL_ENGINE_DEVICE", "VLLM_TARGET_DEVICE"):
        monkeypatch.setenv(name, "cpu")
    monkeypatch.setenv("MINE", "1")
    config: dict[str, Any] = {
        "trainer": {"device": "cuda"},
        "actor_rollout_ref": {"model": {"path": "hub/model"}},
        "search_r1": {"env": {"VLLM_TARGET_DEVICE": "rocm"}},
        "ray_kwargs": {"ray_init": {"address": "local"}},
    }
    base = base_environment()  # what the process that composes and checks the preset gets
    assert base["MINE"] == "1"
    assert not {"VERL_PLATFORM", "VERL_ENGINE_DEVICE", "VLLM_TARGET_DEVICE"} & base.keys()
    environment = training_environment(config, tmp_path, base, Path("/tmp/short"))
    assert "VERL_PLATFORM" not in environment
    assert environment["VLLM_TARGET_DEVICE"] == "rocm", "the preset's own choice counts"
