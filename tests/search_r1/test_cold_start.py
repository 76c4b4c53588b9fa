"""What a cold start is asked for, and the name of its result."""

import copy
import json

import pytest

from search_r1.cold_start import (
    RECEIPT,
    ColdStartConfig,
    inputs_of,
    place_of,
    read_receipt,
)
from search_r1.evaluation import EvaluationConfig
from search_r1.loop import LoopConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_questions": 0}, "num_questions is 0; it must be at least 1"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"batch_size": -2}, "batch_size is -2; it must be at least 1"),
        ({"batch_size": 7}, "batch_size is 7; make it even"),
        ({"batch_size": 22, "num_questions": 10}, "10 questions give 20 demonstrations; lower it"),
        ({"max_tokens_per_micro_batch": 0}, "max_tokens_per_micro_batch is 0"),
        ({"lr": 0.0}, "lr is 0.0; it must be above 0"),
        ({"lr": float("nan")}, "lr is nan; it must be above 0"),
        ({"save_freq": 0}, "save_freq is 0; it must be at least 1, or -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=rf"search_r1\.cold_start\..*{message}"):
        ColdStartConfig("q.parquet", **settings)


@pytest.mark.parametrize(
    ("num_questions", "batch_size", "epochs", "updates"),
    [(200, 10, 1, 40), (200, 10, 2, 80), (7, 4, 1, 3), (7, 4, 2, 6), (1, 2, 1, 1)],
)
def test_updates_are_whole_batches_of_every_epoch(num_questions, batch_size, epochs, updates):
    wanted = ColdStartConfig(
        "q.parquet", num_questions=num_questions, batch_size=batch_size, epochs=epochs
    )
    assert wanted.num_updates == updates


def test_an_evaluation_of_no_question_is_refused():
    assert EvaluationConfig("q.parquet").num_questions > 0
    with pytest.raises(ValueError, match=r"num_questions is 0; .*search_r1.evaluation=null"):
        EvaluationConfig("q.parquet", num_questions=0)


def test_an_evaluation_in_an_unknown_prompt_is_refused():
    assert EvaluationConfig("q.parquet", base_prompt="two_shot").base_prompt == "two_shot"
    with pytest.raises(ValueError, match=r"base_prompt is 'two_shots'; it must be one of bare, "):
        EvaluationConfig("q.parquet", base_prompt="two_shots")


@pytest.fixture
def config(tmp_path):
    """A run's config over a model folder, a question file and an index that are there."""
    for name in ("model", "index"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.bin").write_bytes(b"12")
    (tmp_path / "index" / "manifest.json").write_text("{}")
    (tmp_path / "questions.parquet").write_bytes(b"rows")
    return {
        "search_r1": {
            "cold_start": {"questions": str(tmp_path / "questions.parquet"), "num_questions": 20},
            "prompt": "bare",
            "parser": "search_tags",
            "parser_options": {},
            "tools": {},
            "top_k": 1,
            "loop": {"max_calls": 1},
            "retriever": {"index": str(tmp_path / "index"), "client": {}},
            "compute_dtype": "fp32",
            "run_dir": "runs/1",
        },
        "actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}},
        "trainer": {"total_training_steps": 10},
    }


def test_the_same_inputs_share_a_folder_whatever_else_the_run_does(config, tmp_path):
    place = place_of(config, tmp_path)
    assert place.parent == tmp_path / "cold_start"
    other = copy.deepcopy(config)
    other["trainer"]["total_training_steps"] = 99
    other["search_r1"] |= {"run_dir": "runs/2", "reward": {"em": 2.0}}
    other["search_r1"]["retriever"]["client"]["url"] = "http://127.0.0.1:9"
    assert place_of(other, tmp_path) == place
    # A default that is written out is no other setting.
    other["search_r1"]["cold_start"]["epochs"] = ColdStartConfig("q").epochs
    assert place_of(other, tmp_path) == place
    other["search_r1"]["loop"]["max_turn_tokens"] = LoopConfig().max_turn_tokens
    assert place_of(other, tmp_path) == place


@pytest.mark.parametrize(
    ("section", "change"),
    [
        (("search_r1", "cold_start"), {"num_questions": 21}),
        (("search_r1", "cold_start"), {"lr": 2e-4}),
        (("search_r1", "cold_start"), {"seed": 1}),
        (("search_r1",), {"prompt": "two_shot"}),
        (("search_r1",), {"prompt_style": "chat"}),
        (("search_r1",), {"parser": "hermes"}),
        (("search_r1",), {"parser_options": {"search_tag": "ask"}}),
        (("search_r1",), {"tools": {"search": {"type": "search"}}}),
        (("search_r1",), {"top_k": 2}),
        (("search_r1",), {"compute_dtype": "bf16"}),
        (("search_r1", "retriever"), {"index": None}),
        (("actor_rollout_ref", "model"), {"path": "hub/model"}),
    ],
)
def test_every_setting_that_decides_the_result_gives_another_folder(
    config, tmp_path, section, change
):
    before = place_of(config, tmp_path)
    part = config
    for key in section:
        part = part[key]
    part |= change
    assert place_of(config, tmp_path) != before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("questions.parquet", b"rowz"),
        ("model/weights.bin", b"123"),
        ("model/manifest.json", b'{"sha256": "a"}'),
        ("index/manifest.json", b'{"sha256": "b"}'),
    ],
)
def test_every_file_that_decides_the_result_gives_another_folder(config, tmp_path, name, content):
    before = place_of(config, tmp_path)
    (tmp_path / name).write_bytes(content)
    assert place_of(config, tmp_path) != before


def test_the_folder_does_not_depend_on_where_model_and_index_lie(config, tmp_path):
    before = place_of(config, tmp_path)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("model", "index"):
        (tmp_path / name).rename(moved / name)
    config["actor_rollout_ref"]["model"]["path"] = str(moved / "model")
    config["search_r1"]["retriever"]["index"] = str(moved / "index")
    assert place_of(config, tmp_path) == before


def test_inputs_survive_a_receipt(config, tmp_path):
    inputs = inputs_of(config)
    (tmp_path / RECEIPT).write_text(json.dumps({"inputs": inputs}))
    assert read_receipt(tmp_path) == {"inputs": inputs}


@pytest.mark.parametrize("text", [None, "", '{"inputs": ', "[1]"])
def test_a_receipt_that_is_not_there_or_half_written_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / RECEIPT).write_text(text)
    assert read_receipt(tmp_path) is None
