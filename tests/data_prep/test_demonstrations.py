"""Demonstrations made by the real loop over the real retriever, one question two ways."""

import asyncio

import pytest
import yaml

from data_prep import demonstrations
from data_prep.demonstrations import main, make
from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from data_prep.steps import DataPrepError
from search_r1.runs.progress import ProgressFile, read_progress
from search_r1.tokens import HfCodec
from search_r1.verify import find_problems
from tests.run_readers import read_lines
from tests.tiny_retriever import serve_passages

QUESTIONS = [
    Question("1", "who wrote Dracula?", ("Abraham Stoker", "Bram Stoker"), "unknown", ("Dracula",)),
    Question("2", "what is the plural of mouse?", ("mice",), "known", ("Dracula novel",)),
    Question("3", "who was born in 1847?", ("Nobody At All",), "unknown", ("Bram Stoker born",)),
    Question("4", "when did Mount Fuji erupt?", ("in 1707", "1707"), "", ("Mount Fuji erupt",)),
    Question("5", "which has no query?", ("x",), "known", ()),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory, tiny_passages):
    with serve_passages(tmp_path_factory.mktemp("retriever"), tiny_passages) as address:
        yield address


@pytest.fixture
def codec(bpe_tokenizer):
    return HfCodec(bpe_tokenizer)


@pytest.fixture
def config_of(tmp_path, bpe_tokenizer, url):
    """Make a run's config for so many questions; more keys go to its search_r1 section."""

    def make_config(number, client=None, loop=None, **section):
        bpe_tokenizer.save_pretrained(tmp_path / "model")
        rows = make_rows([("tiny", question) for question in QUESTIONS], "train", "bare")
        write_rows(rows, tmp_path / "train.parquet")
        cold_start = {
            "questions": str(tmp_path / "train.parquet"),
            "num_questions": number,
            "batch_size": 2,
        }
        return {
            "search_r1": {
                "prompt": "bare",
                "top_k": 1,
                "loop": {"max_nudges": 0} | (loop or {}),
                "retriever": {"client": client or {"url": url}},
                "cold_start": cold_start,
                "run_dir": str(tmp_path / "run"),
                **section,
            },
            "actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}},
        }

    return make_config


@pytest.fixture
def demonstrate(tmp_path):
    """Make the demonstrations of a config; gives their records."""

    def run(config):
        progress = ProgressFile(config["search_r1"]["run_dir"], "demonstrations")
        number = asyncio.run(make(config, tmp_path / "out", progress))
        records = read_lines(tmp_path / "out" / "demonstrations.jsonl")
        assert len(records) == number
        return records

    return run


def test_every_question_is_answered_directly_and_by_a_search(config_of, demonstrate, codec):
    records = demonstrate(config_of(3))
    assert [record["uid"] for record in records] == [
        *("0_direct", "0_search", "1_direct", "1_search", "3_direct", "3_search")
    ]
    for direct, search in zip(records[::2], records[1::2], strict=True):
        assert direct["prompt_ids"] == search["prompt_ids"]
        assert len(direct["turns"]) == 1
        assert len(search["turns"]) == 2
        assert search["turns"][0]["passage_ids"]
        assert {direct["stop_reason"], search["stop_reason"]} == {"answer"}
    for record in records:
        assert not list(find_problems(record, codec.decode))
        assert record["metadata"]["data_source"] == "tiny"


def test_a_guarded_retriever_is_asked_with_the_token_of_the_environment(
    config_of, demonstrate, tiny_passages, tmp_path, monkeypatch
):
    (tmp_path / "guarded").mkdir()
    monkeypatch.setenv("RETRIEVER_TOKEN", "open-sesame")
    with serve_passages(tmp_path / "guarded", tiny_passages, token="open-sesame") as address:
        records = demonstrate(config_of(1, {"url": address}))
    assert records[1]["turns"][0]["passage_ids"]


def test_what_was_read_is_masked_and_the_calls_are_as_the_format_has_them(
    config_of, demonstrate, codec
):
    _, search = demonstrate(config_of(1))
    ids, mask = search["response_ids"], search["response_mask"]
    written = codec.decode([one for one, is_own in zip(ids, mask, strict=True) if is_own])
    assert "<search>Dracula</search>" in written
    assert "Gothic horror novel" not in written
    assert "Gothic horror novel" in codec.decode(ids)


def test_the_answer_is_the_one_that_stands_in_the_passage(config_of, demonstrate):
    direct, search, *_ = demonstrate(config_of(3))
    # The passage says Bram Stoker; without one the first gold answer is written.
    assert search["prediction"] == "Bram Stoker"
    assert direct["prediction"] == "Abraham Stoker"


def test_an_unknown_question_whose_passages_lack_the_answer_is_left_out(config_of, demonstrate):
    uids = [record["uid"] for record in demonstrate(config_of(3))]
    assert not any(uid.startswith("2_") for uid in uids), "question 3 finds no answer"
    assert "1_search" in uids, "a known one needs none"
    assert "3_search" in uids


def test_demonstrations_that_are_not_neutral_all_search_each_on_another_question(
    config_of, demonstrate
):
    config = config_of(1)
    config["search_r1"]["cold_start"]["is_neutral"] = False
    assert [record["uid"] for record in demonstrate(config)] == ["0_search", "1_search"]
    config["search_r1"]["cold_start"]["num_questions"] = 2
    with pytest.raises(DataPrepError, match=r"for 3 of its .* asks for 4 \(twice its value"):
        demonstrate(config)


def test_a_question_that_does_not_fit_the_limits_is_left_out(config_of, demonstrate):
    with pytest.raises(DataPrepError, match="gives demonstrations for 0 of its questions"):
        demonstrate(config_of(1, loop={"max_turn_tokens": 4}))


def test_too_few_questions_are_an_error_and_leave_nothing(config_of, demonstrate, tmp_path):
    message = r"for 3 of its questions \(of 4 with a query\), .*num_questions asks for 4; lower it"
    with pytest.raises(DataPrepError, match=message):
        demonstrate(config_of(4))
    assert not (tmp_path / "out").exists()


def test_a_dead_retriever_is_an_error_and_never_text(config_of, demonstrate, tmp_path):
    client = {"url": "http://127.0.0.1:9", "max_attempts": 1}
    with pytest.raises(DataPrepError, match="the retriever did not answer while demonstrating"):
        demonstrate(config_of(3, client))
    assert not (tmp_path / "out").exists()


def test_progress_is_told_in_questions(config_of, demonstrate, tmp_path):
    demonstrate(config_of(3))
    state = read_progress(tmp_path / "run")
    assert (state.stage, state.done, state.total) == ("demonstrations", 3, 3)


def test_other_formats_are_demonstrated_in_their_own_words(config_of, demonstrate):
    _, search = demonstrate(config_of(1, parser="hermes"))
    assert search["turns"][0]["model_text"].startswith('<tool_call>\n{"name": "search"')
    assert search["turns"][0]["calls"][0]["arguments"] == {"query": "Dracula"}


def test_a_format_that_writes_no_calls_is_an_error(config_of, demonstrate):
    with pytest.raises(DataPrepError, match="choose search_tags or hermes"):
        demonstrate(config_of(1, parser="llama3_json"))


def test_the_command_writes_what_a_config_asks_for(config_of, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_of(2)))
    assert main(["--config", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "4 demonstrations in " in capsys.readouterr().out
    assert len(read_lines(tmp_path / "out" / demonstrations.DEMONSTRATIONS)) == 4


def test_a_config_without_a_cold_start_is_an_error(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"search_r1": {"cold_start": None}}))
    assert main(["--config", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "has no search_r1.cold_start section" in capsys.readouterr().err
