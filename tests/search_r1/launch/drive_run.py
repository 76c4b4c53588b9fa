"""Runs the launcher with a fake trainer: ``drive_run.py INDEX RUN_DIR``."""

import os
import sys
from pathlib import Path

from search_r1.launch import cli, run, stages
from search_r1.launch.checks import preflight

FAKES = Path(__file__).parent
index, run_dir = sys.argv[1:]
config = {
    "trainer": {
        "device": "cpu",
        "total_training_steps": 2,
        "save_freq": -1,
        "val_before_train": False,
    },
    "data": {"train_batch_size": 6, "train_files": "", "val_files": ""},
    "reward": {"custom_reward_function": {"path": None}},
    "actor_rollout_ref": {
        "model": {"path": "hub/model"},
        "rollout": {
            "n": 6,
            "checkpoint_engine": {"update_weights_bucket_megabytes": None},
        },
    },
    "critic": {"model": {"path": None}},
    "algorithm": {"adv_estimator": "grpo_masked"},
    "search_r1": {"retriever": {"client": {}, "index": index}, "env": {"A_VARIABLE": "1"}},
    "ray_kwargs": {"ray_init": {"address": "local"}},
}
if os.environ.get("FAKE_COLD_START"):
    config["search_r1"] |= {"cold_start": {"questions": "rows.parquet"}, "loop": {}}
if os.environ.get("FAKE_EVALUATION"):
    config["search_r1"]["evaluation"] = {"questions": "rows.parquet"}
    code = f"raise SystemExit({os.environ['FAKE_EVALUATION']!r} == 'fail')"
    stages.evaluation_child = lambda config, run_dir, base: stages.Child(
        "evaluation", [sys.executable, "-c", code]
    )
plan = {
    "preset": "quickstart",
    "overrides": [],
    "run_dir": run_dir,
    "resumed_step": 2 if os.environ.get("IS_TRAINED") else None,
    "is_trained": bool(os.environ.get("IS_TRAINED")),
    "config": config,
}
run.request_plan = lambda preset, overrides: plan
run._TRAINER = (str(FAKES / "fake_trainer.py"),)
run.probe_command = lambda config, step: [sys.executable, str(FAKES / "fake_probe.py"), str(config)]
stages.cold_start_children = lambda config, run_dir, folder: [
    stages.Child(
        "cold start",
        [sys.executable, str(FAKES / "fake_cold_start.py"), str(run_dir / "config.yaml"), folder],
    )
]
preflight.require_ready = lambda config: None
run._EXIT_GRACE_S = 0.5
sys.exit(cli.main(["quickstart"]))
