"""Stands in for verl's training process: writes metrics, leaves a daemon, may search or fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from search_r1.client import SearchClientConfig, SyncSearchClient

config = yaml.safe_load(Path(sys.argv[1]).read_text())
assert config["search_r1"]["retriever"]["client"]["url"].startswith("http://127.0.0.1:")
Path(os.environ["RAY_TMPDIR"], "ray/session_latest/logs").mkdir(parents=True)
Path(os.environ["RAY_TMPDIR"], "ray/session_latest/logs/raylet.out").touch()
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep, start_new_session=True)  # what Ray's daemons do
with Path(os.environ["VERL_FILE_LOGGER_PATH"]).open("a") as metrics:
    for step in (1, 2):
        line = {"step": step, "timing_s/step": 1.0, "reward/em": 0.25, "reward/total": 0.5}
        metrics.write(json.dumps(line) + "\n")
if os.environ["FAKE_TRAINER"] == "search":
    client = SyncSearchClient(SearchClientConfig(**config["search_r1"]["retriever"]["client"]))
    assert client.search(["Dracula"], 1)[0]
    client.close()
if os.environ["FAKE_TRAINER"] == "fail":
    raise ValueError("the batch is empty")
if os.environ["FAKE_TRAINER"] == "hang":
    time.sleep(600)
