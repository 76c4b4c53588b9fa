"""A real cold start on a tiny model: verl's supervised trainer, its engine, its checkpoints."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from search_r1.cold_start import RECEIPT, inputs_of
from search_r1.launch import plan
from search_r1.runs.progress import read_progress
from tests.run_readers import read_lines

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(900)]

PROMPT = [200, 201, 202]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.tiny_model import save_tiny_model  # imports torch

    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder)
    return folder


def prepare(model, tmp_path):
    """Write a config for four questions and their demonstrations; gives config and folder."""
    (tmp_path / "train.parquet").touch()
    overrides = [
        f"actor_rollout_ref.model.path={model}",
        f"search_r1.cold_start.questions={tmp_path / 'train.parquet'}",
        "search_r1.cold_start.num_questions=4",
        "++search_r1.cold_start.batch_size=4",
        "++search_r1.cold_start.warmup_steps=1",
        "++search_r1.cold_start.lr=0.003",
        "++search_r1.cold_start.save_freq=1",
        "search_r1.retriever.index=null",
        "++search_r1.retriever.client.url=http://127.0.0.1:9",
    ]
    config = plan.make_plan("quickstart", overrides, tmp_path / "runs").config
    config["search_r1"]["run_dir"] = str(tmp_path / "run")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    folder = tmp_path / "cold"
    folder.mkdir()
    lines = []
    for number in range(4):
        ids = [65 + number] * 5
        direct = {"prompt_ids": PROMPT, "response_ids": ids, "response_mask": [1] * 5}
        searching = direct | {"response_ids": ids * 2, "response_mask": [1, 1, 0, 0, 0] * 2}
        lines += [json.dumps(one) + "\n" for one in (direct, searching)]
    (folder / "demonstrations.jsonl").write_text("".join(lines))
    return config, folder


def start(config, folder, *code):
    """Start the command, or code in its place; what it says goes to a file in its folder."""
    begin = code or ("-m", "search_r1.verl_plugin.cold_start")
    command = [sys.executable, *begin, str(folder.parent / "config.yaml"), str(folder)]
    environment = os.environ | config["search_r1"]["env"]
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def finish(process, folder):
    assert process.wait() == 0, (folder / "output.txt").read_text()[-4000:]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A cold start of two updates that nothing disturbed: its config and folder."""
    config, folder = prepare(model, tmp_path_factory.mktemp("whole"))
    finish(start(config, folder), folder)
    return config, folder


def weights_of(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").state_dict()


def test_two_updates_leave_a_model_that_loads_and_is_another(model, whole):
    _, folder = whole
    before, after = weights_of(model), weights_of(folder / "model")
    assert before.keys() == after.keys()
    moved = [name for name in before if not before[name].equal(after[name])]
    assert any("mlp" in name for name in moved)
    assert any("embed" in name for name in moved)
    from transformers import AutoTokenizer

    sizes = [len(AutoTokenizer.from_pretrained(one)) for one in (model, folder / "model")]
    assert sizes[0] == sizes[1]


def test_what_it_was_stands_in_its_receipt(whole):
    config, folder = whole
    receipt = json.loads((folder / RECEIPT).read_text())
    assert receipt["inputs"] == inputs_of(config)
    assert receipt["updates"] == 2
    assert receipt["loss_last"] < receipt["loss_first"]
    # Eight demonstrations: four of 3 + 5 tokens, four of 3 + 10.
    assert receipt["tokens"] == 4 * 8 + 4 * 13
    assert not (folder / "checkpoints").exists()
    state = read_progress(folder.parent / "run")
    assert (state.stage, state.done, state.total) == ("cold_start", 2, 2)


HOLD_AFTER_A_CHECKPOINT = """
import pathlib, sys, time
from search_r1.verl_plugin import cold_start
handler = cold_start.sft_trainer.CheckpointHandler
save = handler.save_checkpoint
def save_and_hold(self, step):
    save(self, step=step)
    pathlib.Path(sys.argv[2], "held").touch()
    time.sleep(3600)
handler.save_checkpoint = save_and_hold
cold_start.main()
"""


def test_an_interrupted_cold_start_ends_as_if_nothing_had_been(model, whole, tmp_path):
    config, folder = prepare(model, tmp_path)
    process = start(config, folder, "-c", HOLD_AFTER_A_CHECKPOINT)
    deadline = time.monotonic() + 600
    while not (folder / "held").is_file():
        assert process.poll() is None, (folder / "output.txt").read_text()[-4000:]
        assert time.monotonic() < deadline, (folder / "output.txt").read_text()[-4000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / RECEIPT).exists()
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == [1]
    finish(start(config, folder), folder)
    assert [line["step"] for line in read_lines(folder / "metrics.jsonl")] == [1, 2]
    assert json.loads((folder / RECEIPT).read_text())["tokens"] == 4 * 8 + 4 * 13
    resumed, undisturbed = weights_of(folder / "model"), weights_of(whole[1] / "model")
    for name, expected in undisturbed.items():
        assert resumed[name].allclose(expected, atol=1e-5), name
