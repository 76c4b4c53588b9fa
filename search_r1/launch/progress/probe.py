"""Measure this machine: ``python -m search_r1.launch.progress.probe RUN_DIR/config.yaml``.

Prints how long the run will take from here, and leaves ``estimate.json`` in the run's folder. The
policy is loaded in the run's own compute type and timed on a few short batches, for at most twenty
seconds in all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from search_r1.launch.progress.estimate import Speeds, advise, estimate, tell
from search_r1.launch.progress.outlook import ESTIMATE
from search_r1.launch.stages import find_cold_start
from search_r1.prompts import build_prompt
from search_r1.rows import read_rows
from search_r1.runs import layout
from search_r1.runs.progress import ProgressFile

LIMIT_S = 20.0
_PROMPTS = 64  # question rows whose prompts are measured
_TRAIN_S, _READ_S, _WRITE_S = 4.5, 1.5, 1.5  # how long each is repeated
_SEQUENCES, _TOKENS = 2, 64  # of a training batch: short, as the trajectories of a small policy are
_TRAINED_SHARE = 4  # a quarter of a trajectory's tokens get logits
_READ_TOKENS = 32  # of each trajectory
_WRITERS = 16  # trajectories that are written at once
_PARTS = 4


def measure(
    model_path: str, dtype: str, deadline: float, tell_part: Callable[[int], None]
) -> Speeds:
    """Time training, reading and writing with the model, all cores on each.

    Args:
        model_path: Folder of the model.
        dtype: ``bf16`` or ``fp32``, as the run computes.
        deadline: ``time.monotonic()`` after which nothing is repeated.
        tell_part: Called with the number of parts that are done.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tell_part(1)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    compute = torch.bfloat16 if dtype == "bf16" else torch.float32
    ids = torch.randint(model.config.vocab_size, (_WRITERS, _TOKENS))
    rows, prompts = ids[:_SEQUENCES], ids[:, :_READ_TOKENS]
    kept = _TOKENS // _TRAINED_SHARE

    def train() -> int:
        # verl trains fp32 weights under autocast, or in plain fp32.
        with torch.autocast("cpu", compute, enabled=compute != torch.float32):
            logits = model(input_ids=rows, use_cache=False, logits_to_keep=kept).logits
        targets = rows[:, -kept:].flatten()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets).backward()
        return int(rows.numel())

    tell_part(2)
    train_speed = _speed(train, _TRAIN_S, deadline)
    model.zero_grad()
    model.to(compute).eval()
    cache: list[Any] = []

    def read() -> int:
        cache[:] = [model(input_ids=prompts, use_cache=True, logits_to_keep=1).past_key_values]
        return int(prompts.numel())

    def write() -> int:
        model(input_ids=ids[:, :1], past_key_values=cache[0], use_cache=True)
        return _WRITERS

    with torch.no_grad():
        tell_part(3)
        read_speed = _speed(read, _READ_S, deadline)
        write_speed = _speed(write, _WRITE_S, deadline)
    tell_part(_PARTS)
    return Speeds(train_speed, read_speed, write_speed)


def _speed(work: Callable[[], int], share_s: float, deadline: float) -> float:
    """Give tokens per second of the fastest run; the first warms up, others may be disturbed."""
    began, speeds = time.monotonic(), []
    while True:
        started = time.perf_counter()
        tokens = work()
        speeds.append(tokens / (time.perf_counter() - started))
        now = time.monotonic()
        if now > deadline or (len(speeds) > 1 and now - began > share_s):
            return max(speeds)


def mean_prompt_tokens(config: Mapping[str, Any]) -> float:
    """Measure the prompts of the first training questions, in the prompt that the config names."""
    from transformers import AutoTokenizer

    files, name = config["data"]["train_files"], config["search_r1"].get("prompt")
    file = files if isinstance(files, str) else files[0]
    rows = islice(read_rows(file, needs_question=name is not None), _PROMPTS)
    tokenizer = AutoTokenizer.from_pretrained(config["actor_rollout_ref"]["model"]["path"])
    prompts = [
        build_prompt(name, row["extra_info"]["question"]) if name else row["prompt"] for row in rows
    ]
    texts = ["\n".join(message["content"] for message in prompt) for prompt in prompts]
    return fmean(len(ids) for ids in tokenizer(texts)["input_ids"])


def probe(config: Mapping[str, Any], resumed_step: int = 0) -> dict[str, Any]:
    """Measure, estimate, and put both into words.

    Args:
        config: The run's resolved config.
        resumed_step: Step the run goes on from; 0 for a new run.
    """
    deadline = time.monotonic() + LIMIT_S - _TRAIN_S  # what has begun by then still ends
    progress = ProgressFile(config["search_r1"].get("run_dir"), "probe")
    progress.report("probe", 0, _PARTS)
    model = config["actor_rollout_ref"]["model"]["path"]
    dtype = config["search_r1"].get("compute_dtype") or "bf16"
    speeds = measure(model, dtype, deadline, lambda done: progress.report("probe", done, _PARTS))
    found = find_cold_start(dict(config))
    has_cold_start = found is not None and found.receipt is not None
    prompt_tokens = mean_prompt_tokens(config)
    made = estimate(config, speeds, prompt_tokens, has_cold_start, resumed_step)
    return made.to_json() | {
        "speeds_tokens_per_s": {name: round(value, 1) for name, value in asdict(speeds).items()},
        "compute_dtype": dtype,
        "prompt_tokens": round(prompt_tokens, 1),
        "line": tell(made),
        "advice": advise(made, config),
    }


def main(argv: list[str] | None = None) -> int:
    """Probe for a config, print the line and the advice, and leave the estimate."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) not in (1, 2):
        sys.stderr.write(
            "usage: python -m search_r1.launch.progress.probe CONFIG.yaml [RESUMED_STEP]\n"
        )
        return 2
    path = Path(arguments[0])
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    result = probe(config, int(arguments[1]) if len(arguments) > 1 else 0)
    layout.write_json(path.parent / ESTIMATE, result)
    lines = [result["line"], *filter(None, [result["advice"]])]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
