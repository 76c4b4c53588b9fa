"""A fabricated run folder: made-up numbers in the shapes a real run writes. Nothing was trained."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = {
    "data": {"train_batch_size": 6},
    "actor_rollout_ref": {"rollout": {"n": 6}},
    "search_r1": {"compute_dtype": "fp32"},
}


def step_metrics(step: int, generator: random.Random) -> dict[str, Any]:
    """Make up the metrics of one step."""
    noise = generator.uniform(-0.04, 0.04)
    em = 0.08 + 0.02 * step + noise
    return {
        "step": step,
        "reward/em": em,
        "reward/total": em + 0.06,
        "search/searches_per_trajectory": 0.9 + 0.05 * step + noise,
        "search/no_search_rate": max(0.0, 0.35 - 0.03 * step + noise),
        "search/valid_turn_rate": min(1.0, 0.6 + 0.035 * step + noise),
        "search/stop/answer": min(1.0, 0.5 + 0.04 * step + noise),
        "search/turn_truncated_rate": max(0.0, 0.3 - 0.03 * step + noise),
        "search/sampled_entropy_nats": 2.2 - 0.12 * step + noise,
        "tools/search/latency_mean_s": 0.012,
        "tools/search/latency_max_s": 0.03 + step / 1000,
        "retriever/failure_rate": 0.0,
        "timing_s/step": 45.0 + 100 * noise,
        "timing_s/gen": 14.0 + 40 * noise,
        "timing_s/old_log_prob": 0.1,
        "timing_s/update_actor": 29.0 + 60 * noise,
        "timing_s/update_weights": 0.9,
        **({"timing_s/testing": 20.0, "timing_s/save_checkpoint": 3.0} if step % 5 == 0 else {}),
    }


def write_evaluation(run_dir: Path, step: int, ems: list[float]) -> None:
    """Write a validation: question number i scores ``ems[i]``."""
    rows = [
        {
            "question": f"question {i}",
            "metadata": {"data_source": "nq" if i % 2 else "triviaqa"},
            "stop_reason": "answer",
            "reward": {"em": em},
        }
        for i, em in enumerate(ems)
    ]
    path = run_dir / "eval" / f"step_{step:06d}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def fabricate(run_dir: Path, steps: int = 10, questions: int = 64) -> Path:
    """Fill a folder with a made-up run."""
    generator = random.Random(0)
    run_dir.mkdir(parents=True)
    lines = [{"step": 0, "val-core/nq/acc/mean@1": 0.1}]
    lines += [step_metrics(step, generator) for step in range(1, steps + 1)]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run_dir / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    order = generator.sample(range(questions), questions)
    for step in (0, steps // 2, steps):
        good = set(order[: int(questions * (0.15 + 0.02 * step))])
        write_evaluation(run_dir, step, [float(i in good) for i in range(questions)])
    part = {
        "run_id": "made-up",
        "command": ["./train.sh", "quickstart"],
        "resumed_step": None,
        "stages_s": {"prepare": 40.0, "retriever": 1.0, "train": 600.0, "total": 660.0},
        "memory": {
            "peak_gb": 11.4,
            "processes_at_peak": 14,
            "at_peak_gb": {"vLLM engine": 3.0},
            "peak_of_kind_gb": {"WorkerDict": 5.1, "vLLM engine": 3.2, "retriever": 0.2},
            "samples": 300,
        },
    }
    notes = {"preset": "quickstart", "overrides": [], "parts": [part]}
    (run_dir / "launch.json").write_text(json.dumps(notes))
    return run_dir


def outcome(uid: str, knowledge: str, em: float, searches: int, **fields: Any) -> dict[str, Any]:
    """Make up the record of a question evaluated; every search found Bram Stoker."""
    call = {"is_search": True, "status": "ok"}
    searching = {
        "opening": "",
        "model_text": "<search>Dracula</search>",
        "observation_text": "\n<information>Dracula is by Bram Stoker.</information>\n",
        "num_observation_ids": 9,
        "calls": [call],
    }
    answering = {
        "opening": "",
        "model_text": f"<answer>{'right' if em else 'wrong'}</answer>",
        "observation_text": "",
        "num_observation_ids": 0,
        "calls": [],
    }
    return {
        "uid": uid,
        "question": f"question {uid}?",
        "gold_answers": ["Bram Stoker"],
        "stop_reason": "answer",
        "reward": {"em": em},
        "metadata": {"data_source": f"source of {uid[0]}", "knowledge": knowledge},
        "turns": [searching] * searches + [answering],
        **fields,
    }


KNOWLEDGE = {"k": "known", "u": "unknown", "r": ""}


def write_outcomes(run_dir: Path, name: str, **deeds: tuple[float, int]) -> None:
    """Write an evaluation: by uid, whose first letter says what was known, EM and searches."""
    records = [outcome(uid, KNOWLEDGE[uid[0]], em, done) for uid, (em, done) in deeds.items()]
    path = run_dir / "eval" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in reversed(records)))


@pytest.fixture
def compared_run(fabricated_run: Path) -> Path:
    """Four known questions, four unknown and two real ones, before and after."""
    for path in (fabricated_run / "eval").iterdir():
        path.unlink()
    write_outcomes(fabricated_run, "base.search.greedy",
        k0=(1, 1), k1=(0, 1), k2=(0, 1), k3=(0, 1), u0=(0, 1), u1=(0, 1), u2=(0, 1), u3=(0, 1),
        r0=(0, 1), r1=(0, 1))  # fmt: skip
    write_outcomes(fabricated_run, "cold_start.search.greedy",
        k0=(1, 1), k1=(1, 0), k2=(0, 1), k3=(0, 0), u0=(1, 1), u1=(0, 1), u2=(0, 0), u3=(0, 0),
        r0=(0, 1), r1=(0, 1))  # fmt: skip
    write_outcomes(fabricated_run, "cold_start.search.sampled",
        k0=(1, 1), k1=(1, 0), k2=(0, 1), k3=(0, 0), u0=(0, 1), u1=(0, 1), u2=(0, 0), u3=(0, 0),
        r0=(0, 1), r1=(0, 0))  # fmt: skip
    write_outcomes(fabricated_run, "trained.search.greedy",
        k0=(1, 0), k1=(1, 0), k2=(1, 0), k3=(0, 1), u0=(1, 1), u1=(1, 1), u2=(1, 1), u3=(1, 2),
        r0=(1, 1), r1=(0, 1))  # fmt: skip
    write_outcomes(fabricated_run, "trained.search_never.greedy",
        k0=(1, 0), k1=(1, 0), k2=(1, 0), k3=(0, 0), u0=(0, 0), u1=(0, 0), u2=(0, 0), u3=(0, 0),
        r0=(0, 0), r1=(0, 0))  # fmt: skip
    return fabricated_run


@pytest.fixture
def outcome_of() -> Any:
    return outcome


@pytest.fixture
def write_evaluated() -> Any:
    return write_outcomes


@pytest.fixture
def fabricated_run(tmp_path: Path) -> Path:
    return fabricate(tmp_path / "runs" / "quickstart" / "2026-01-01_00-00-00")
