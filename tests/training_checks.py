"""What every dumped trajectory must satisfy, and small readers, for the tests of whole runs."""

import json
import os
import time

from search_r1.types import digest


def read_lines(path):
    """Read a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_trajectory(record, tokenizer):
    """Check ids against mask, texts and what the engine was given, turn by turn."""
    ids, mask = record["response_ids"], record["response_mask"]
    assert len(ids) == len(mask) == len(record["response_logprobs"])
    position = 0
    for turn in record["turns"]:
        assert turn["start"] == position
        assert turn["context_digest"] == digest(record["prompt_ids"] + ids[:position])
        end = position + turn["num_ids"]
        assert mask[position:end] == [1] * turn["num_ids"]
        assert tokenizer.decode(ids[position:end]) == turn["model_text"]
        position = end + turn["num_observation_ids"]
        assert mask[end:position] == [0] * turn["num_observation_ids"]
        assert tokenizer.decode(ids[end:position]) == turn["observation_text"]
    assert position == len(ids)


def processes_marked(variable, value, timeout_s):
    """List processes whose environment has a variable, after giving them time to end."""
    deadline = time.monotonic() + timeout_s
    while (found := _find(f"{variable}={value}".encode())) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _find(marker):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if marker in file.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return found
