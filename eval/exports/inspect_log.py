"""Inspect's evaluation logs (JSON), for its viewer and ``read_eval_log``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.measures import Result, em, mean, seconds, share, tokens_read, tokens_written
from search_r1.metrics import Record

_VERSION = 2  # of Inspect's format
_SCORES = ("em", "sub_em", "f1")
_STOPS = {"search_limit": "max_tokens", "response_length": "max_tokens"}


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``NAME.json``, a log with a sample a question."""
    path = folder / f"{result.name}.json"
    text = json.dumps(_log(result), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", errors="replace")
    return [path]


def _log(result: Result) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    name = hashlib.sha256(result.name.encode()).hexdigest()[:22]
    samples = [_sample(record, result) for record in result.records]
    sets = " ".join(result.manifest.questions["sets"])
    return {
        "version": _VERSION,
        "status": "success",
        "eval": {
            "eval_id": name,
            "run_id": name,
            "task_id": name,
            "created": now,
            "task": f"{sets} {result.manifest.method}",
            "dataset": {
                "name": sets,
                "samples": len(samples),
                "sample_ids": [sample["id"] for sample in samples],
                "shuffled": False,
            },
            "model": f"search_r1/{result.model}",
            "config": {},
            "metadata": asdict(result.manifest) | {"lost_to_infrastructure": result.num_lost},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(samples),
            "scores": [_figure(name, result) for name in _SCORES],
        },
        "stats": {"started_at": now, "completed_at": now, "model_usage": {}},
        "samples": samples,
    }


def _figure(name: str, result: Result) -> dict[str, Any]:
    values = [float(record["reward"][name]) for record in result.records]
    one = mean(values) if name == "f1" else share(values)
    metrics = {"mean": one.value, "ci95_low": one.low, "ci95_high": one.high}
    return {
        "name": name,
        "scorer": name,
        "params": {},
        "metrics": {key: {"name": key, "value": value} for key, value in metrics.items()},
    }


def _sample(record: Record, result: Result) -> dict[str, Any]:
    messages = [{"role": "user", "content": record["question"]}, *_messages(record)]
    answer = record["prediction"]
    model = f"search_r1/{result.model}"
    stop = _STOPS.get(record["stop_reason"], "stop")
    last = {"role": "assistant", "content": answer or "", "model": model, "source": "generate"}
    read, written = tokens_read(record), tokens_written(record)
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return {
        "id": record["uid"],
        "epoch": 1,
        "input": record["question"],
        "target": record["gold_answers"],
        "messages": messages,
        "output": {
            "model": model,
            "choices": [{"message": last, "stop_reason": stop}],
            "completion": answer or "",
            "usage": usage,
        },
        "scores": {
            name: {"value": float(record["reward"][name]), "answer": answer} for name in _SCORES
        },
        "metadata": record["metadata"] | {"stop_reason": record["stop_reason"], "em": em(record)},
        "model_usage": {model: usage},
        "total_time": seconds(record),
    }


def _messages(record: Record) -> Iterator[dict[str, Any]]:
    """Give the turns as chat messages, though they may be raw text between tags."""
    if given := record["metadata"].get("given_text"):
        yield {"role": "user", "content": given}
    for number, turn in enumerate(record["turns"]):
        names = [f"{number}-{n}" for n in range(len(turn["calls"]))]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": turn["opening"] + turn["model_text"],
            "source": "generate",
        }
        if names:
            message["tool_calls"] = [
                {"id": name, "function": call["name"], "arguments": call["arguments"],
                 "type": "function"}
                for name, call in zip(names, turn["calls"], strict=True)
            ]  # fmt: skip
        yield message
        if names:
            yield {
                "role": "tool",
                "content": turn["observation_text"],
                "tool_call_id": names[0],
                "function": turn["calls"][0]["name"],
            }
        elif turn["observation_text"]:
            yield {"role": "user", "content": turn["observation_text"]}
