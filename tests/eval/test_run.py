"""Every question is asked once, whatever stopped the evaluation before."""

import asyncio
import json
from dataclasses import replace

import pytest
import yaml

from data_prep.steps import DataPrepError
from eval.answerers import Answerer, uid_of
from eval.engine import _shape, engine_options
from eval.run import _parse, evaluate, main, take_rows
from search_r1.assembly import FormatConfig, assemble
from search_r1.loop import LoopConfig
from search_r1.progress import read_progress
from search_r1.search_client import SearchClient, SearchClientConfig
from search_r1.verify import find_problems
from tests.run_readers import read_lines


@pytest.fixture
def run(evaluator_of, rows):
    def run(*passes):
        missing = sum(len(one.missing(rows)) for one in passes)
        asyncio.run(evaluator_of(missing).run(passes, rows))

    return run


def em_and_searches(path):
    return {
        record["question"]: (record["reward"]["em"], record["reward"]["searches"])
        for record in read_lines(path)
    }


def test_every_question_is_asked_once_and_never_again(run, pass_of, rows, policy):
    one = pass_of()
    run(one)
    records = read_lines(one.path)
    assert sorted(record["uid"] for record in records) == sorted(map(uid_of, rows))
    asked = len(policy.contexts)
    run(one)
    assert len(policy.contexts) == asked
    assert read_lines(one.path) == records


def test_a_record_is_what_training_dumps_with_what_was_evaluated(run, pass_of, parts):
    one = pass_of()
    run(one)
    records = {record["question"]: record for record in read_lines(one.path)}
    known, unknown = records["who wrote Dracula?"], records["who is number 1?"]
    assert (
        known["metadata"].items()
        >= {
            "data_source": "facts",
            "knowledge": "known",
            "model": "tiny",
            "method": "search",
            "decoding": "greedy",
        }.items()
    )
    assert unknown["metadata"]["knowledge"] == "unknown"
    assert (known["reward"]["total"], unknown["reward"]["total"]) == (1.0, 0.75)
    for record in records.values():
        assert not list(find_problems(record, parts.codec.decode))


def test_methods_force_what_they_say(run, pass_of):
    free, always, never = (pass_of(f"search{how}") for how in ("", "_always", "_never"))
    run(free, always, never)
    unknown = [f"who is number {i}?" for i in range(3)]
    known = ["who wrote Dracula?", "what is the capital of France?"]
    assert em_and_searches(free.path) == dict.fromkeys(known, (1, 0)) | dict.fromkeys(
        unknown, (1, 1)
    )
    assert em_and_searches(always.path) == dict.fromkeys([*known, *unknown], (1, 1))
    assert em_and_searches(never.path) == dict.fromkeys(known, (1, 0)) | dict.fromkeys(
        unknown, (0, 0)
    )


def test_each_pass_has_its_temperature_and_its_file(run, pass_of, rows, policy, tmp_path):
    run(pass_of(), pass_of("search_never", "sampled"))
    assert policy.temperatures == [0.0] * len(rows) + [1.0] * len(rows)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "tiny.search.greedy.jsonl",
        "tiny.search_never.sampled.jsonl",
    ]


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_last_line_is_asked_again_and_the_others_are_not(
    run, pass_of, rows, policy, tmp_path, cut
):
    one = pass_of()
    run(one)
    whole = one.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    one.path.write_bytes(b"".join(lines[:3]) + lines[3][:-cut])
    policy.contexts.clear()
    run(one)
    kept = 4 if cut == 1 else 3  # only the line's end was missing
    assert len({c.rpartition("Question: ")[2].partition("\n")[0] for c in policy.contexts}) == (
        len(rows) - kept
    )
    records = read_lines(one.path)
    assert sorted(record["uid"] for record in records) == sorted(map(uid_of, rows))
    assert one.path.read_bytes().startswith(b"".join(lines[:kept]))
    assert read_progress(tmp_path / "run").total == len(rows) - kept


def test_what_infrastructure_ended_is_asked_again(run, pass_of, rows, policy):
    one = pass_of()
    policy.lost = {"who is number 0?", "who wrote Dracula?"}
    run(one)
    stops = {record["question"]: record["stop_reason"] for record in read_lines(one.path)}
    assert {question for question, stop in stops.items() if stop == "aborted"} == policy.lost
    assert [row["extra_info"]["question"] for row in one.missing(rows)] == [
        "who wrote Dracula?",
        "who is number 0?",
    ]
    policy.lost = set()
    run(one)
    records = read_lines(one.path)
    assert len(records) == len(rows)
    assert {record["stop_reason"] for record in records} == {"answer"}


def test_a_retriever_that_fails_for_good_ends_it_and_says_how_many_and_where(
    bpe_tokenizer, evaluator_of, pass_of, rows, policy, tmp_path
):
    dead = SearchClient(SearchClientConfig(url="http://127.0.0.1:9", deadline_s=0.1))
    limits = LoopConfig(top_k=1, max_nudges=0)
    parts = assemble(bpe_tokenizer, (), FormatConfig(prompt="bare"), limits, dead)
    evaluator = evaluator_of(5, parts=parts)
    first, second = pass_of(), pass_of("search_always")
    with pytest.raises(DataPrepError) as caught:
        asyncio.run(evaluator.run([first, second], rows))
    told = str(caught.value)
    assert told.startswith(f"the retriever failed on 3 questions, and {first.path} lacks 3 of 5: ")
    assert "http://127.0.0.1:9/retrieve" in told
    assert {record["stop_reason"] for record in read_lines(first.path)} == {"answer"}
    assert not second.path.exists(), "the other passes would only wait for it too"


def test_progress_counts_over_all_passes(run, pass_of, rows, tmp_path):
    run(pass_of(), pass_of("search_always"))
    state = read_progress(tmp_path / "run")
    assert (state.done, state.total) == (2 * len(rows), 2 * len(rows))
    assert state.counts["searches"] == 3 + 5


def test_a_rows_own_prompt_is_used_when_none_is_given(evaluator_of, pass_of, rows, policy):
    row = rows[0] | {"prompt": [{"role": "user", "content": "As it was. Question: who?\n"}]}
    asyncio.run(evaluator_of(prompt=None).run([pass_of()], [row]))
    assert policy.contexts[0] == "As it was. Question: who?\n"


def test_rows_are_taken_from_the_start_of_the_file(question_file, rows):
    assert take_rows(question_file, None) == rows
    assert take_rows(question_file, 2) == rows[:2]
    with pytest.raises(DataPrepError, match=r"test.parquet has 5 questions; --number asks for 6"):
        take_rows(question_file, 6)
    with pytest.raises(DataPrepError, match=r"there is no .*absent.parquet; --questions expects"):
        take_rows(question_file.with_name("absent.parquet"), None)


def test_the_engine_has_the_rollouts_options_without_its_weight_sync():
    rollout = {
        "dtype": "float32",
        "max_model_len": 544,
        "max_num_seqs": None,
        "n": 8,
        "temperature": 1.0,
        "engine_kwargs": {"vllm": {"worker_extension_cls": "x.Y", "kv_cache_memory_bytes": 9}},
    }
    assert engine_options(rollout) == {
        "dtype": "float32",
        "max_model_len": 544,
        "kv_cache_memory_bytes": 9,
    }
    assert engine_options({"engine_kwargs": None}) == {}


def test_a_finished_evaluation_starts_no_engine(run, pass_of, rows, tmp_path):
    run(replace(pass_of(), model="model"))
    config = {"search_r1": {}, "actor_rollout_ref": {"rollout": {}}}  # would not do for an engine
    answerer = Answerer("tiny", "model", None, ("search:greedy",))
    asyncio.run(evaluate(config, [answerer], rows, tmp_path))


def test_the_command_says_what_it_misses(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"search_r1": {}, "actor_rollout_ref": {"rollout": {}}}))
    files = ["--config", str(config), "--model", "m", "--out", str(tmp_path / "out")]
    assert main([*files, "--questions", str(tmp_path / "absent.parquet")]) == 1
    assert capsys.readouterr().err.startswith("error: there is no ")


@pytest.mark.slow  # imports transformers' models
def test_a_method_the_format_cannot_force_is_refused_before_an_engine_starts(
    rows, bpe_tokenizer, tmp_path
):
    bpe_tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    answerer = Answerer(
        "tiny", str(tmp_path / "model"), None, ("search:greedy", "search_always:greedy")
    )
    section = {"parser": "mistral", "loop": {}, "reward": {}, "retriever": {"client": {}}}
    config = {"search_r1": section, "actor_rollout_ref": {"rollout": {"no_such_option": 1}}}
    with pytest.raises(
        DataPrepError, match=r"search_always cannot be forced.*does not write calls"
    ):
        asyncio.run(evaluate(config, [answerer], rows, tmp_path))


def test_a_folder_without_a_model_is_told_before_an_engine_starts(rows, tmp_path):
    config = {"search_r1": {}, "actor_rollout_ref": {"rollout": {}}}
    (tmp_path / "empty").mkdir()
    answerer = Answerer("tiny", str(tmp_path / "empty"), None, ("search:greedy",))
    with pytest.raises(DataPrepError, match=r"--model of tiny: \S*empty holds no model"):
        asyncio.run(evaluate(config, [answerer], rows, tmp_path / "out"))


def test_models_take_turns_in_one_engine_only_when_they_are_of_one_shape(tmp_path):
    def save(name, **config):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"hidden_size": 8} | config))
        return str(tmp_path / name)

    one, same = save("one", dtype="float32"), save("same", dtype="bfloat16")
    assert _shape(one) == _shape(same)
    assert _shape(save("wider", hidden_size=16)) != _shape(one)
    assert _shape("hub/a") != _shape("hub/b")


def test_methods_are_named_with_their_decoding(capsys):
    files = ["--config", "c", "--model", "m", "--out", "o", "--questions", "q"]
    assert _parse(files).method == ["search:greedy"]
    with pytest.raises(SystemExit):
        _parse([*files, "--plan", "p"])
    with pytest.raises(SystemExit):
        _parse([*files, "--method", "search"])
    assert "search_never:sampled" in capsys.readouterr().err


def test_lines_are_json_of_one_record_each(run, pass_of, rows):
    one = pass_of()
    run(one)
    assert all(json.loads(line) for line in one.path.read_text().splitlines())


@pytest.mark.parametrize("change", [{"model": "/models/other"}, {"prompt": "two_shot"}])
def test_answers_of_another_model_or_prompt_are_not_taken_for_this_ones(run, pass_of, rows, change):
    one = pass_of()
    run(one)
    with pytest.raises(DataPrepError, match=r"holds answers of .* was asked for; give another"):
        replace(one, **change).missing(rows)
    assert len(read_lines(one.path)) == len(rows)


def test_answers_to_other_questions_are_not_taken_for_these(run, pass_of, rows):
    one = pass_of()
    run(one)
    rows[0]["extra_info"]["question"] = "who wrote something else?"
    with pytest.raises(DataPrepError, match="other questions"):
        one.missing(rows)
