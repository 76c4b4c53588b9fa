"""The check of dumped trajectories finds every kind of damage."""

import copy
import json
import sys

import pytest
import yaml

from search_r1.policies.scripted import ScriptedTurn
from search_r1.types import Passage
from search_r1.verify import find_problems, main


@pytest.fixture
def sound(byte_codec, rollout, searcher_of, passages):
    script = [ScriptedTurn("<search>q</search>", overrun="."), "<answer>a</answer>"]
    trajectory, _, _ = rollout(byte_codec, script, searcher=searcher_of(passages))
    return trajectory.to_json()


def test_a_real_trajectory_is_sound(sound, byte_codec):
    assert list(find_problems(sound, byte_codec.decode)) == []


def set_item(*path, value):
    def damage(record):
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (set_item("response_mask", 0, value=0), "mask of model_text is not 1"),
        (set_item("response_mask", 25, value=1), "mask of observation_text is not 0"),
        (set_item("response_ids", 0, value=7), "do not decode to model_text"),
        (set_item("response_ids", 30, value=7), "do not decode to observation_text"),
        (set_item("prompt_ids", 0, value=7), "engine was given other ids"),
        (set_item("turns", 1, "start", value=3), "turn 1 starts at 3"),
        (lambda record: record["response_logprobs"].pop(), "differ in length"),
        (lambda record: record["turns"].pop(), "the turns hold"),
    ],
)
def test_damage_is_found(sound, byte_codec, damage, problem):
    record = copy.deepcopy(sound)
    damage(record)
    assert any(problem in found for found in find_problems(record, byte_codec.decode))


@pytest.mark.slow
def test_the_command_reads_what_a_run_dumps(
    codec, tokenizer, rollout, searcher_of, tmp_path, monkeypatch, capsys
):
    """With every tokenizer, and with characters that Python counts as line ends."""
    found = searcher_of([Passage("1", "A\u2028B", "one\x85two\u2029three")])
    script = ["<search>q</search>", "<answer>a</answer>"]
    trajectory, _, _ = rollout(codec, script, searcher=found)
    tokenizer.save_pretrained(tmp_path / "model")
    config = {"actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "trajectories").mkdir()
    line = json.dumps(trajectory.to_json(), ensure_ascii=False)
    (tmp_path / "trajectories" / "step_000001.jsonl").write_text(f"{line}\n{line}\n")
    monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path)])
    assert main() == 0
    assert capsys.readouterr().out == "2 trajectories checked, 0 broken\n"
