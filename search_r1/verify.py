"""Check dumped trajectories token by token: ``python -m search_r1.verify RUN_DIR``.

What the model wrote has mask 1 and decodes to exactly its text; what it read has mask 0 and decodes
to exactly the observation; before each turn the engine was given exactly the prompt and the
response so far. A run that fails here trained on something else than what was sampled.
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from search_r1.metrics import INFRASTRUCTURE
from search_r1.tokens import HfCodec
from search_r1.types import digest

Decode = Callable[[Sequence[int]], str]


def find_problems(record: dict[str, Any], decode: Decode) -> Iterator[str]:
    """Yield what is wrong with one dumped trajectory; nothing when it is sound.

    Args:
        record: A trajectory as ``Trajectory.to_json`` gives it.
        decode: Decodes ids with special tokens kept and no clean-up.
    """
    ids, mask = record["response_ids"], record["response_mask"]
    if not len(ids) == len(mask) == len(record["response_logprobs"]):
        yield "ids, mask and logprobs differ in length"
        return
    position = 0
    for number, turn in enumerate(record["turns"]):
        if turn["start"] != position:
            yield f"turn {number} starts at {turn['start']}, the ones before end at {position}"
            return
        if turn["context_digest"] != digest(record["prompt_ids"] + ids[:position]):
            yield f"turn {number}: the engine was given other ids than prompt and response so far"
        end = position + turn["num_ids"]
        yield from _check_part(f"turn {number}", ids, mask, (position, end), 1, turn, decode)
        position = end + turn["num_observation_ids"]
        yield from _check_part(f"turn {number}", ids, mask, (end, position), 0, turn, decode)
    if position != len(ids) and record["stop_reason"] not in INFRASTRUCTURE:
        yield f"the turns hold {position} ids, the response {len(ids)}"


def _check_part(
    name: str,
    ids: list[int],
    mask: list[int],
    bounds: tuple[int, int],
    expected: int,
    turn: dict[str, Any],
    decode: Decode,
) -> Iterator[str]:
    key = "model_text" if expected else "observation_text"
    start, end = bounds
    if set(mask[start:end]) - {expected}:
        yield f"{name}: the mask of {key} is not {expected} throughout"
    # Some tokenizers (Qwen's) normalise what they encode to NFC.
    if decode(ids[start:end]) not in (turn[key], unicodedata.normalize("NFC", turn[key])):
        yield f"{name}: the ids do not decode to {key}"


def main() -> int:
    """Check every trajectory of a run folder; exit code 1 when one is not sound."""
    parser = argparse.ArgumentParser(prog="python -m search_r1.verify", description=main.__doc__)
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="runs/PRESET/TIMESTAMP")
    run_dir = parser.parse_args().run_dir
    config = run_dir / "config.yaml"
    if not config.is_file():
        print(f"error: {config} is missing; give the folder of a run.", file=sys.stderr)
        return 2
    decode = _decoder(yaml.safe_load(config.read_text(encoding="utf-8")))
    checked = broken = 0
    for path in sorted(run_dir.glob("trajectories/*.jsonl")) + sorted(run_dir.glob("eval/*.jsonl")):
        # Not splitlines(): a text may hold characters that Python counts as line ends.
        with path.open(encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                problems = list(find_problems(record, decode))
                checked += 1
                broken += bool(problems)
                for problem in problems:
                    print(f"{path.name} {record['uid']}: {problem}")
    print(f"{checked} trajectories checked, {broken} broken")
    return 1 if broken or not checked else 0


def _decoder(config: dict[str, Any]) -> Decode:
    from transformers import AutoTokenizer

    return HfCodec(
        AutoTokenizer.from_pretrained(config["actor_rollout_ref"]["model"]["path"])
    ).decode


if __name__ == "__main__":
    sys.exit(main())
