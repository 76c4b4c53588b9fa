import json
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from search_r1.errors import LaunchError
from search_r1.launch.checks import needs, preflight
from search_r1.launch.checks.needs import memory_need_gb
from search_r1.processes.service import HOST
from tests.tiny_retriever import serve_passages

GIB = 2**30


def save_size(folder: Path, embedding: list[int], rest: int, layers: int, inner: int):
    """Write the config and the header of a model's file; the weights are not there."""
    shapes = [embedding, *[[rest // 24]] * 24]
    tensors = {f"t{i}": {"dtype": "BF16", "shape": shape} for i, shape in enumerate(shapes)}
    header = json.dumps({"__metadata__": {}, **tensors}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    vocabulary, hidden = embedding
    sizes = {"vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": inner}
    (folder / "config.json").write_text(json.dumps(sizes | {"num_hidden_layers": layers}))


def save_half_billion(config):
    """Put a model of Qwen2.5-0.5B's sizes into the place of the quickstart's."""
    folder = Path(config["actor_rollout_ref"]["model"]["path"])
    save_size(folder, [151936, 896], 357_898_112, layers=24, inner=4864)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config whose files exist, on the CPU."""
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("SEARCH_R1_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 64 * GIB)
    for name in ("model", "index"):
        (tmp_path / name).mkdir()
    save_size(tmp_path / "model", [49152, 576], 106_203_456, layers=30, inner=1536)
    for name in ("train.parquet", "test.parquet"):
        (tmp_path / name).touch()
    return {
        "trainer": {"device": "cpu", "save_freq": 5, "max_actor_ckpt_to_keep": 1},
        "data": {
            "train_files": str(tmp_path / "train.parquet"),
            "val_files": [str(tmp_path / "test.parquet")],
            "max_prompt_length": 256,
            "max_response_length": 192,
        },
        "actor_rollout_ref": {
            "model": {"path": str(tmp_path / "model")},
            "actor": {"ppo_max_token_len_per_gpu": 1280},
            "rollout": {
                "checkpoint_engine": {"update_weights_bucket_megabytes": None},
                "engine_kwargs": {"vllm": {"kv_cache_memory_bytes": 384 * 2**20}},
            },
        },
        "algorithm": {"adv_estimator": "grpo_masked"},
        "critic": {},
        "reward": {"custom_reward_function": {"path": None}},
        "search_r1": {
            "retriever": {"client": {}, "index": str(tmp_path / "index")},
            "compute_dtype": "fp32",
        },
        "ray_kwargs": {"ray_init": {"address": "local"}},
    }


def only_problem(config):
    (problem,) = preflight.problems(config)
    assert "\n" not in problem
    return problem


def test_a_machine_with_everything_has_no_problems(config):
    assert preflight.problems(config) == []
    preflight.require_ready(config)


def test_every_missing_file_is_named_with_what_makes_it(config, tmp_path):
    config["data"]["train_files"] = [
        str(tmp_path / "questions/nq/train.parquet"),
        str(tmp_path / "questions/hotpotqa/train.parquet"),
        "/somewhere/mine.parquet",
    ]
    problems = preflight.problems(config)
    assert len(problems) == 3
    assert problems[0].endswith("make it with: python -m data_prep.nq")
    assert problems[1].endswith("make it with: python -m data_prep.hotpotqa")
    assert problems[2].endswith("correct the path, or set data.train_files=PATH")
    with pytest.raises(LaunchError, match=r"data_prep\.hotpotqa"):
        preflight.require_ready(config)


@pytest.mark.parametrize("name", ["cold_start", "evaluation"])
def test_too_few_questions_for_a_stage_are_told(config, tmp_path, name):
    path = tmp_path / "questions.parquet"
    asked = [("nq", Question(str(i), f"who wrote book {i}?", ("Stoker",))) for i in range(3)]
    write_rows(make_rows(asked, "test", "bare"), path)
    config["search_r1"][name] = {"questions": str(path), "num_questions": 5}
    assert only_problem(config).endswith(
        f"has 3 questions and search_r1.{name}.num_questions asks for 5; lower it, or name a "
        "larger file."
    )
    config["search_r1"][name]["num_questions"] = 3
    if name == "cold_start":
        config["search_r1"][name]["batch_size"] = 2
    assert preflight.problems(config) == []
    path.write_bytes(b"rows")
    assert "questions.parquet is not a readable parquet file" in only_problem(config)
    config["search_r1"][name]["num_questions"] = 1
    pq.write_table(pa.table({"prompt": ["who wrote it?"]}), path)
    assert "has no column data_source, reward_model" in only_problem(config)


def test_a_model_on_a_hub_is_not_looked_for_on_disk(config):
    assert preflight.remarks(config) == []
    config["actor_rollout_ref"]["model"]["path"] = "Qwen/Qwen2.5-3B"
    assert preflight.problems(config) == []
    disk, memory = preflight.remarks(config)
    assert disk.startswith("disk space is not checked: the weights of Qwen/Qwen2.5-3B are not")
    assert memory.startswith("memory is not checked: Qwen/Qwen2.5-3B is no folder with ")
    config["trainer"]["save_freq"] = -1
    assert preflight.remarks(config) == [memory]


@pytest.mark.parametrize("name", ["grpo", "rloo", "reinforce_plus_plus_baseline"])
def test_an_estimator_that_lost_trajectories_move_is_remarked_on(config, name):
    assert preflight.remarks(config) == []
    config["algorithm"]["adv_estimator"] = name
    (remark,) = preflight.remarks(config)
    assert remark.startswith(f"algorithm.adv_estimator={name} takes a trajectory that infra")
    config["algorithm"]["adv_estimator"] = "gae"
    assert preflight.remarks(config) == []


def test_quickstart_files_are_recognised(config, tmp_path):
    assert not preflight.uses_quickstart(config)
    config["data"]["train_files"] = str(tmp_path / "questions/quickstart/train.parquet")
    assert preflight.uses_quickstart(config)


def test_too_little_memory_is_told(config, monkeypatch):
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 2 * GIB)
    problem = only_problem(config)
    assert problem.startswith("2.0 GiB of memory are free, of which Ray leaves ")
    assert problem.endswith("data.max_response_length tokens fits.")


def test_the_quickstart_needs_what_was_measured(config):
    """docs/runs/2026-11-24-quickstart: 13.15 GiB, in fp32 with micro-batches of 1280 tokens."""
    assert memory_need_gb(config) == pytest.approx(13.15, abs=0.2)


def test_memory_goes_by_vocabulary_layers_and_compute_type(config):
    small = memory_need_gb(config)
    save_half_billion(config)
    large = memory_need_gb(config)
    config["search_r1"]["compute_dtype"] = "bf16"
    narrow = memory_need_gb(config)
    assert small is not None
    assert large is not None
    assert narrow is not None
    # Parameters: 20 bytes in the trainer, 2.4 copies of 4 in the engine. Then for each of 1280
    # tokens 24 * (8 * 896 + 4 * 4864) activations against 322,560, and 102,784 more logits.
    more = (494_032_768 - 134_515_008) * 29.6 + 1280 * (316_416 * 5.6 + 102_784 * 8)
    assert large - small == pytest.approx(more / GIB, abs=0.05)
    assert narrow < large - 2


def test_the_micro_batch_that_fits_is_named(config, monkeypatch):
    save_half_billion(config)
    monkeypatch.setattr(preflight, "meminfo_bytes", lambda _: 25 * GIB)
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: int(25.5 * GIB))
    problem = only_problem(config)
    assert problem.startswith("25.5 GiB of memory are free, of which Ray leaves 24.0 to use, and ")
    key, _, value = problem.removesuffix(".").rpartition(" ")[2].partition("=")
    assert key == "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
    config["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"] = int(value)
    assert preflight.problems(config) == []
    config["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"] = 1280
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 22 * GIB)
    assert " or set search_r1.compute_dtype=bf16 actor_rollout_ref." in only_problem(config)


def test_the_bucket_of_the_weights_holds_the_largest_tensor(config):
    engine = config["actor_rollout_ref"]["rollout"]["checkpoint_engine"]
    needs.fill_bucket(config)
    assert engine["update_weights_bucket_megabytes"] == 128, "108 MiB are enough for SmolLM2"
    save_half_billion(config)
    assert "=128 is less than the 520 MiB of the model's largest tensor" in only_problem(config)
    engine["update_weights_bucket_megabytes"] = None
    assert preflight.problems(config) == []
    needs.fill_bucket(config)
    assert engine["update_weights_bucket_megabytes"] == 520  # 151936 * 896 * 4 bytes
    engine["update_weights_bucket_megabytes"] = 600
    needs.fill_bucket(config)
    assert engine["update_weights_bucket_megabytes"] == 600, "an override wins"


def test_a_critic_takes_memory_and_disk_too(config):
    alone = memory_need_gb(config), preflight.disk_need_gb(config)
    config["algorithm"]["adv_estimator"] = "gae"
    both = memory_need_gb(config), preflight.disk_need_gb(config)
    assert all(two > one for one, two in zip(alone, both, strict=True) if one and two)


def test_a_missing_reward_function_or_checkpoint_is_told(config):
    reward = config["reward"]["custom_reward_function"]
    reward["path"] = "pkg://search_r1.verl_plugin.reward"
    assert preflight.problems(config) == []
    reward["path"] = "mine.py"
    assert only_problem(config).startswith(
        "reward.custom_reward_function.path: there is no mine.py"
    )
    reward["path"] = None
    config["trainer"] |= {"resume_mode": "resume_path", "resume_from_path": "/no/global_step_5"}
    assert only_problem(config).startswith(
        "trainer.resume_from_path: there is no /no/global_step_5"
    )


def test_too_little_disk_is_told(config, monkeypatch):
    monkeypatch.setattr(preflight, "disk_need_gb", lambda _: 10**6)
    assert "trainer.save_freq=-1" in only_problem(config)


def test_a_taken_port_is_told(config):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        config["search_r1"]["retriever"]["client"]["url"] = f"http://{HOST}:{port}"
        assert only_problem(config).startswith(f"port {port} is taken, and ")
    assert preflight.problems(config) == []


def test_a_retriever_that_does_not_answer_is_told(config):
    config["search_r1"]["retriever"] = {"client": {"url": f"http://{HOST}:9"}, "index": None}
    assert only_problem(config).startswith(f"no retrieval server answers at http://{HOST}:9; ")


def test_a_guarded_retriever_is_asked_with_the_token_of_the_environment(
    config, tmp_path, monkeypatch
):
    monkeypatch.delenv("RETRIEVER_TOKEN", raising=False)
    passages = [{"id": "1", "title": "Dracula", "text": "a novel"}]
    (tmp_path / "guarded").mkdir()
    with serve_passages(tmp_path / "guarded", passages, token="open-sesame") as url:
        config["search_r1"]["retriever"] = {"client": {"url": url}, "index": None}
        refused = f"the retrieval server at {url} asks for another bearer token; set RETRIEVER_TOK"
        assert only_problem(config).startswith(refused)
        monkeypatch.setenv("RETRIEVER_TOKEN", "open-sesame")
        assert preflight.problems(config) == []


@pytest.mark.parametrize(("status", "serves"), [(200, True), (404, True), (503, False)])
def test_a_server_without_ready_is_accepted_as_search_r1s_own(
    config, monkeypatch, status: int, serves: bool
):
    url = "https://passages.example/wiki"
    config["search_r1"]["retriever"] = {"client": {"url": url}, "index": None}
    asked = []

    def ready_status(url: str, timeout_s: float) -> int:
        asked.append(url)
        return status

    monkeypatch.setattr(preflight, "ready_status", ready_status)
    assert (preflight.problems(config) == []) == serves
    assert asked == [url]


def test_another_python_is_told(config, monkeypatch):
    monkeypatch.setattr(preflight.sys, "version_info", (3, 14, 0))
    assert only_problem(config).startswith("this is Python 3.14; the pinned packages need 3.11")


def test_missing_gpus_are_told(config, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(preflight, "_is_installed", lambda package: False)
    config["trainer"] |= {"device": "cuda", "n_gpus_per_node": 8}
    assert "2 NVIDIA GPU(s) to offer and the preset asks for 8" in only_problem(config)
    config["ray_kwargs"]["ray_init"]["address"] = "auto"  # a cluster has its own
    assert preflight.problems(config) == []


def test_gpus_hidden_from_this_process_do_not_count(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert preflight.count_gpus() == 0
