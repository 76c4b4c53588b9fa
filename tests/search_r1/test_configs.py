"""Every preset composes with verl's own config, and passes its validation without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search_r1.launch import derive, plan, presets
from search_r1.launch.errors import LaunchError, UsageError

ROOT = Path(__file__).resolve().parents[2]
CPU_NAMES = ["quickstart", "quickstart_hermes", "prove_cpu"]
GPU_NAMES = ["grpo_3b_8gpu", "grpo_lora_1gpu", "multinode", "ppo_7b_8gpu", "prove_gpu"]
NAMES = {*CPU_NAMES, *GPU_NAMES}

VALIDATE = """
import contextlib, json, sys
from pathlib import Path
from search_r1.launch import plan
answers = {}
with contextlib.redirect_stdout(sys.stderr):
    for name in sys.argv[2:]:
        made = plan.make_plan(name, [], Path(sys.argv[1]))
        plan.check(made.config)
        answers[name] = made.config
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every preset after verl's validation; one process imports verl for all of them.

    The quickstarts come last: they set VERL_PLATFORM, which the GPU presets must do without.
    """
    names = [*GPU_NAMES, *CPU_NAMES]
    env = {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}
    result = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(tmp_path_factory.mktemp("runs")), *names],
        capture_output=True,
        cwd=ROOT,
        env=env | {"HF_HUB_OFFLINE": "1"},  # nothing may be fetched to check a config
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()[-3000:]
    made: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return made


def test_the_presets_are_listed_with_a_line_each_the_default_first() -> None:
    listed = presets.list_presets()
    assert set(listed) == NAMES
    assert next(iter(listed)) == presets.DEFAULT
    assert all(20 < len(text) < 120 for text in listed.values())


@pytest.mark.slow
def test_every_preset_passes_verls_own_validation(configs: dict[str, dict[str, Any]]) -> None:
    assert set(configs) == NAMES
    for name, config in configs.items():
        is_cpu = name in CPU_NAMES
        assert config["trainer"]["device"] == ("cpu" if is_cpu else "cuda")
        assert ("VERL_PLATFORM" in config["search_r1"]["env"]) == is_cpu
        assert Path(
            config["actor_rollout_ref"]["rollout"]["agent"]["agent_loop_config_path"]
        ).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo_3b_8gpu", "ppo_7b_8gpu"])
def test_search_r1s_hyperparameters_are_kept(configs: dict[str, dict[str, Any]], name: str) -> None:
    config = configs[name]
    actor, section = config["actor_rollout_ref"]["actor"], config["search_r1"]
    loop = section["loop"]
    assert actor["optim"]["lr"] == 1e-6
    assert actor["optim"]["lr_warmup_steps_ratio"] == 0.285
    assert (config["data"]["train_batch_size"], actor["ppo_mini_batch_size"]) == (512, 256)
    assert (loop["max_calls"], section["top_k"]) == (4, 3)
    assert (loop["max_turn_tokens"], loop["max_observation_tokens"]) == (500, 500)
    assert config["actor_rollout_ref"]["rollout"]["max_model_len"] == 4096
    assert config["actor_rollout_ref"]["rollout"]["temperature"] == 1.0
    assert actor["clip_ratio_low"] == 0.2


@pytest.mark.slow
def test_grpo_has_groups_of_five_and_kl_in_the_loss(configs: dict[str, dict[str, Any]]) -> None:
    config = configs["grpo_3b_8gpu"]
    assert config["actor_rollout_ref"]["rollout"]["n"] == 5
    actor = config["actor_rollout_ref"]["actor"]
    assert (actor["use_kl_loss"], actor["kl_loss_coef"]) == (True, 0.001)
    assert actor["clip_ratio_high"] == 0.28
    assert config["algorithm"]["rollout_correction"]["rollout_is_threshold"] == 2.0


@pytest.mark.slow
def test_ppo_has_a_critic_with_its_own_rate(configs: dict[str, dict[str, Any]]) -> None:
    config = configs["ppo_7b_8gpu"]
    assert config["algorithm"]["adv_estimator"] == "gae"
    assert config["critic"]["optim"]["lr"] == 1e-5
    assert config["critic"]["optim"]["lr_warmup_steps_ratio"] == 0.015
    assert config["critic"]["model"]["path"] == config["actor_rollout_ref"]["model"]["path"]


@pytest.mark.slow
def test_multinode_joins_a_cluster_and_hands_it_our_environment(
    configs: dict[str, dict[str, Any]],
) -> None:
    ray_init = configs["multinode"]["ray_kwargs"]["ray_init"]
    assert derive.is_remote_cluster(configs["multinode"])
    assert ray_init["runtime_env"]["env_vars"]["VERL_USE_EXTERNAL_MODULES"]
    assert configs["grpo_3b_8gpu"]["ray_kwargs"]["ray_init"]["address"] == "local"


@pytest.mark.slow
def test_composing_a_preset_imports_neither_torch_nor_verl() -> None:
    code = (
        "import sys; from search_r1.launch import presets; presets.compose('grpo_3b_8gpu');"
        "assert not {'torch', 'verl', 'vllm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'quikstart'; there are: quickstart, .*mean quickstart"):
        presets.compose("quikstart")


@pytest.mark.slow
def test_an_unknown_override_is_answered_with_the_keys_beside_it() -> None:
    with pytest.raises(UsageError) as caught:
        presets.compose("grpo_3b_8gpu", ["trainer.total_training_step=3"])
    message = str(caught.value)
    assert "Did you mean total_training_steps" in message
    assert "trainer has: balance_batch," in message
    assert "\n" not in message


@pytest.mark.parametrize("override", ["foo", "a.b=[1", "=3"])
def test_an_override_that_cannot_be_read_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match="cannot read the override"):
        presets.compose("grpo_3b_8gpu", [override])


def make(tmp_path: Path, *overrides: str) -> plan.Plan:
    return plan.make_plan("grpo_3b_8gpu", overrides, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search_r1.loop.max_response_tokens=4000", "max_response_tokens=4000 is more than data."),
        ("data.max_prompt_length=1024", "= 4608 is more than .*max_model_len=4096"),
        (
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048",
            "less than one sequence of 4096",
        ),
        (
            "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=4095",
            r"rollout\.log_prob_max_token_len_per_gpu=4095 is less than one sequence of 4096",
        ),
        (
            "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu=4095",
            r"ref\.log_prob_max_token_len_per_gpu=4095 is less than one",
        ),
        ("~search_r1.loop.max_response_tokens", "max_response_tokens=4096 is more than data."),
        ("search_r1.loop.max_turn_tokens=3585", "max_turn_tokens=3585 is more than max_resp"),
        ("data.seed=null", "val_max_samples=1024 draws .* without data.seed"),
        (
            "reward.custom_reward_function.path=mine.py",
            "path=mine.py scores .* reward.num_workers=0; set reward.num_workers=1",
        ),
        (
            "+reward.reward_model={enable:true,enable_resource_pool:true}",
            "the agent loop scores by itself and verl then asks no such model",
        ),
        ("data.train_batch_size=300", "train_batch_size=300 is not a multiple"),
        ("actor_rollout_ref.rollout.n=1", "n=1; make it at least 2"),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size=3", "=3 does not divide"),
        ("search_r1.retriever.client.url=localhost", "'localhost' is not an http address"),
        ("+search_r1.env.VERL_PLATFORM=cpu", "the CPU platform needs both"),
    ],
)
def test_values_that_cannot_go_together_are_refused(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(LaunchError, match=message):
        derive.check_consistency(make(tmp_path, override).config)


@pytest.mark.slow
def test_a_critics_micro_batch_holds_a_sequence(tmp_path: Path) -> None:
    room = "critic.ppo_max_token_len_per_gpu=4000"
    derive.check_consistency(make(tmp_path, room).config)  # GRPO has no critic
    config = plan.make_plan("ppo_7b_8gpu", [room], tmp_path).config
    with pytest.raises(LaunchError, match=r"critic\.ppo_max_token_len_per_gpu=4000 is less"):
        derive.check_consistency(config)
    config["critic"]["ulysses_sequence_parallel_size"] = 2
    derive.check_consistency(config)


@pytest.mark.slow
def test_questions_drawn_without_a_seed_are_refused_only_where_they_are_drawn(
    tmp_path: Path,
) -> None:
    config = make(tmp_path, "data.seed=null", "data.shuffle=false").config
    derive.check_consistency(config)  # the first ones, always the same
    config = make(tmp_path, "data.seed=null", "data.val_max_samples=-1").config
    derive.check_consistency(config)


@pytest.mark.slow
def test_a_plain_start_is_a_new_run_and_resuming_is_explicit(tmp_path: Path) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("100")
    earlier = ["trainer.total_training_steps=200", "actor_rollout_ref.rollout.n=8"]
    (old / "launch.json").write_text(json.dumps({"overrides": earlier}))
    fresh = make(tmp_path)
    assert fresh.run_dir != str(old)
    assert fresh.config["trainer"]["resume_mode"] == "disable"
    resumed = make(tmp_path, "trainer.resume_mode=auto", "trainer.total_training_steps=300")
    assert (resumed.run_dir, resumed.resumed_step, resumed.is_trained) == (str(old), 100, False)
    assert resumed.config["trainer"]["default_local_dir"] == str(old / "checkpoints")
    assert resumed.config["trainer"]["total_training_steps"] == 300, "the later override counts"
    assert resumed.config["actor_rollout_ref"]["rollout"]["n"] == 8, "the earlier one is kept"


@pytest.mark.slow
def test_a_run_whose_evaluation_alone_is_left_trains_no_more_unless_it_is_asked_to(
    tmp_path: Path,
) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("500")
    (old / "summary.json").write_text("{}")
    (old / "launch.json").write_text(json.dumps({"overrides": [], "unfinished": "evaluation"}))
    resumed = make(tmp_path, "trainer.resume_mode=auto")
    assert (resumed.run_dir, resumed.is_trained) == (str(old), True)
    more = make(tmp_path, "trainer.resume_mode=auto", "trainer.total_training_steps=600")
    assert (more.run_dir, more.is_trained) == (str(old), False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "metrics", "overrides", "is_evaluated_again"),
    [
        (50, "", [], True),
        (50, '{"step": 50, "timing_s/step": 1.0, "val-core/nq/acc/mean@1": 0.3}', [], False),
        (50, '{"step": 50, "timing_s/step": 1.0}', [], True),
        (40, "", [], False),
        (60, "", ["trainer.total_training_steps=60"], True),
        (50, "", ["trainer.test_freq=-1"], False),
        (50, "", ["trainer.val_before_train=false"], False),
        (40, "", ["trainer.val_before_train=true"], True),
    ],
)
def test_a_resumed_run_does_the_evaluation_its_checkpoint_lacks(
    tmp_path: Path, step: int, metrics: str, overrides: list[str], is_evaluated_again: bool
) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(step))
    if metrics:
        (old / "metrics.jsonl").write_text(metrics + "\n")
    resumed = make(tmp_path, "trainer.resume_mode=auto", *overrides)
    assert resumed.resumed_step == step
    assert resumed.config["trainer"]["val_before_train"] == is_evaluated_again


@pytest.mark.slow
def test_relative_paths_are_taken_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "rows.py", "global_step_5"):
        (tmp_path / name).touch()
    paths = [
        "reward.custom_reward_function.path=mine.py",
        "data.custom_cls.path=rows.py",
        "trainer.resume_from_path=global_step_5",
    ]
    config = make(tmp_path, *paths).config
    assert config["reward"]["custom_reward_function"]["path"] == str(tmp_path / "mine.py")
    assert config["data"]["custom_cls"]["path"] == str(tmp_path / "rows.py")
    assert config["trainer"]["resume_from_path"] == str(tmp_path / "global_step_5")
    package = "pkg://search_r1.verl_plugin.reward"
    config = make(tmp_path, f"reward.custom_reward_function.path={package}").config
    assert config["reward"]["custom_reward_function"]["path"] == package


@pytest.mark.slow
def test_artifacts_may_live_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", "/somewhere")
    config = make(tmp_path).config
    assert config["data"]["train_files"][0] == "/somewhere/questions/nq/train.parquet"
    assert config["actor_rollout_ref"]["model"]["path"] == "Qwen/Qwen2.5-3B", "a hub name stays"
