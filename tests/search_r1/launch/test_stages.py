"""The commands around the reinforcement learning: what is run, in which order, and what is not."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from eval.answerers import read_plan
from search_r1.cold_start import inputs_of, place_of
from search_r1.errors import LaunchError
from search_r1.launch import stages
from search_r1.summary.comparison import ROWS


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "base").mkdir()
    (tmp_path / "train.parquet").write_bytes(b"rows")
    base = str(tmp_path / "base")
    return {
        "search_r1": {
            "cold_start": {"questions": str(tmp_path / "train.parquet"), "num_questions": 20},
            "evaluation": {"questions": "test.parquet", "num_questions": 12, "base_prompt": "bare"},
            "loop": {},
            "retriever": {"index": None, "client": {}},
        },
        "actor_rollout_ref": {"model": {"path": base}},
        "critic": {"model": {"path": base}},
        "trainer": {"device": "cpu", "n_gpus_per_node": 1},
    }


def finish(config: dict[str, Any], tmp_path: Path, **receipt: Any) -> Path:
    """Leave a receipt where a finished cold start would."""
    folder = place_of(config, tmp_path / "artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    content = {"inputs": inputs_of(config), "seconds": 9.5} | receipt
    (folder / "cold_start.json").write_text(json.dumps(content))
    return folder


def test_a_config_without_a_cold_start_asks_for_none(config: dict[str, Any]) -> None:
    config["search_r1"]["cold_start"] = None
    assert stages.find_cold_start(config) is None


def test_a_cold_start_is_to_be_done_until_it_wrote_its_receipt(
    config: dict[str, Any], tmp_path: Path
) -> None:
    found = stages.find_cold_start(config)
    assert found is not None
    assert found.receipt is None
    assert found.folder == place_of(config, tmp_path / "artifacts")
    finish(config, tmp_path)
    done = stages.find_cold_start(config)
    assert done is not None
    assert done.receipt is not None
    assert done.receipt["seconds"] == 9.5
    assert done.model == str(done.folder / "model")


def test_another_setting_or_a_receipt_of_other_inputs_does_not_count(
    config: dict[str, Any], tmp_path: Path
) -> None:
    finish(config, tmp_path)
    other = copy.deepcopy(config)
    other["search_r1"]["cold_start"]["epochs"] = 2
    found = stages.find_cold_start(other)
    assert found is not None
    assert found.receipt is None
    finish(config, tmp_path, inputs={"of": "another version"})
    stale = stages.find_cold_start(config)
    assert stale is not None
    assert stale.receipt is None


def test_demonstrations_come_first_and_are_made_once(
    config: dict[str, Any], tmp_path: Path
) -> None:
    path, folder = tmp_path / "run" / "config.yaml", tmp_path / "cold"
    made, trained = stages.cold_start_children(config, path.parent, folder)
    assert (made.name, trained.name) == ("demonstrations", "cold start")
    assert made.command == [
        *(sys.executable, "-m", "data_prep.demonstrations"),
        *("--config", str(path), "--out", str(folder)),
    ]
    module = ["-m", "search_r1.verl_plugin.cold_start", str(path), str(folder)]
    assert trained.command == [sys.executable, *module]
    folder.mkdir()
    (folder / "demonstrations.jsonl").touch()
    assert list(stages.cold_start_children(config, path.parent, folder)) == [trained]
    found = stages.find_cold_start(config)
    assert found is not None
    found.folder.mkdir(parents=True)
    (found.folder / "cold_start.json").write_text(json.dumps({"inputs": inputs_of(config)}))
    assert list(stages.cold_start_children(config, path.parent, folder)) == []


def test_several_gpus_train_under_torchrun(config: dict[str, Any], tmp_path: Path) -> None:
    config["trainer"] = {"device": "cuda", "n_gpus_per_node": 8}
    *_, trained = stages.cold_start_children(config, tmp_path, tmp_path)
    assert trained.command[1:5] == ["-m", "torch.distributed.run", "--standalone",
                                    "--nproc-per-node=8"]  # fmt: skip
    assert trained.command[5:7] == ["-m", "search_r1.verl_plugin.cold_start"]
    config["trainer"] = {"device": "cuda", "n_gpus_per_node": 1}
    *_, alone = stages.cold_start_children(config, tmp_path, tmp_path)
    assert "torch.distributed.run" not in alone.command


def test_actor_and_a_critic_that_began_with_it_take_the_model(config: dict[str, Any]) -> None:
    stages.use_model(config, "/cold")
    assert config["actor_rollout_ref"]["model"]["path"] == "/cold"
    assert config["critic"]["model"]["path"] == "/cold"
    assert config["search_r1"]["cold_start"] is None, (
        "a config asks for no cold start of its result"
    )
    config["critic"]["model"]["path"] = "/own"
    stages.use_model(config, "/colder")
    assert config["critic"]["model"]["path"] == "/own"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with a checkpoint after step 10 in Hugging Face's format."""
    folder = tmp_path / "run"
    model = folder / "checkpoints" / "global_step_10" / "actor" / "huggingface"
    model.mkdir(parents=True)
    (model / "model.safetensors").touch()
    (folder / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("10")
    return folder


def plan_of(child: stages.Child | None, run_dir: Path) -> list[dict[str, Any]]:
    """Check an evaluation's command and give the plan it was left."""
    assert child is not None
    assert child.name == "evaluation"
    assert child.command[:3] == [sys.executable, "-m", "eval.run"]
    options = dict(zip(child.command[3::2], child.command[4::2], strict=True))
    assert options == {
        "--config": str(run_dir / "config.yaml"),
        "--plan": str(run_dir / "eval" / "plan.json"),
        "--out": str(run_dir / "eval"),
        "--benchmarks": "test.parquet",
        "--number": "12",
    }
    plan: list[dict[str, Any]] = json.loads(Path(options["--plan"]).read_text())
    return plan


def test_every_model_of_the_run_is_evaluated(config: dict[str, Any], run_dir: Path) -> None:
    base = config["actor_rollout_ref"]["model"]["path"]
    stages.use_model(config, "/cold")
    before, cold, after = plan_of(stages.evaluation_child(config, run_dir, base), run_dir)
    assert before == {"name": "base", "model": base, "prompt": "bare", "methods": ["search:greedy"]}
    assert (cold["name"], cold["model"], cold["prompt"]) == ("cold_start", "/cold", None)
    assert cold["methods"] == ["search:greedy", "search:sampled"]
    assert after["model"].endswith("global_step_10/actor/huggingface")
    assert (after["name"], after["prompt"]) == ("trained", None)
    forced = ["search_never:greedy", "search_always:greedy"]
    assert after["methods"] == ["search:greedy", *forced]


def test_without_a_cold_start_two_models_are_compared(
    config: dict[str, Any], run_dir: Path
) -> None:
    base = config["actor_rollout_ref"]["model"]["path"]
    plan = plan_of(stages.evaluation_child(config, run_dir, base), run_dir)
    assert [one["name"] for one in plan] == ["base", "trained"]


def test_what_is_evaluated_has_its_row_in_the_table_and_is_a_plan(
    config: dict[str, Any], run_dir: Path
) -> None:
    base = config["actor_rollout_ref"]["model"]["path"]
    stages.use_model(config, "/cold")
    plan_of(stages.evaluation_child(config, run_dir, base), run_dir)
    answerers = read_plan(run_dir / "eval" / "plan.json")
    names = {one.path.stem for answerer in answerers for one in answerer.passes(run_dir)}
    assert names == set(ROWS)


def test_a_checkpoint_without_weights_to_load_is_an_error(
    config: dict[str, Any], run_dir: Path
) -> None:
    (model,) = run_dir.rglob("model.safetensors")
    model.unlink()
    with pytest.raises(LaunchError, match=r"global_step_10/actor/huggingface holds no weights"):
        stages.evaluation_child(config, run_dir, "base")


def test_answers_of_an_earlier_model_of_the_run_are_set_aside(
    config: dict[str, Any], run_dir: Path
) -> None:
    base = config["actor_rollout_ref"]["model"]["path"]
    stages.evaluation_child(config, run_dir, base)
    for name in ("base", "trained"):
        (run_dir / "eval" / f"{name}.search.greedy.jsonl").write_text("{}\n")
    plan = json.loads((run_dir / "eval" / "plan.json").read_text())
    plan[-1]["model"] = "/checkpoints/global_step_5"  # the run went on since
    (run_dir / "eval" / "plan.json").write_text(json.dumps(plan))
    stages.evaluation_child(config, run_dir, base)
    assert [path.name for path in (run_dir / "eval").glob("*.jsonl")] == [
        "base.search.greedy.jsonl"
    ]
    assert len(list((run_dir / "abandoned").glob("trained.search.greedy_*.jsonl"))) == 1
