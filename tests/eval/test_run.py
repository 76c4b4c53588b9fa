"""Every question is asked once, whatever stopped the evaluation before."""

import asyncio
import json

import pytest

from data_prep.steps import DataPrepError
from eval.answerers import Answerer
from eval.benchmarks import uid_of
from eval.engine import _shape, engine_options
from eval.run import Setting, evaluate, main
from search_r1.runs.progress import read_progress
from search_r1.verify import find_problems
from tests.run_readers import read_lines

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


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


def test_progress_counts_over_all_passes(run, pass_of, rows, tmp_path):
    run(pass_of(), pass_of("search_always"))
    state = read_progress(tmp_path / "run")
    assert (state.done, state.total) == (2 * len(rows), 2 * len(rows))
    assert state.counts["searches"] == 3 + 5


def test_a_rows_own_prompt_is_used_when_none_is_given(evaluator_of, pass_of, rows, policy):
    row = rows[0] | {"prompt": [{"role": "user", "content": "As it was. Question: who?\n"}]}
    asyncio.run(evaluator_of(prompt=None).run(pass_of(), [row]))
    assert policy.contexts[0] == "As it was. Question: who?\n"


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


def test_without_a_config_a_cpu_computes_in_what_it_is_fast_at():
    options = engine_options({})
    assert options.keys() == {"dtype", "enforce_eager", "kv_cache_memory_bytes"}
    assert options["dtype"] in ("float32", "bfloat16")


def test_without_a_config_a_cpu_engine_takes_a_part_of_the_memory_and_not_nearly_all():
    assert engine_options({})["kv_cache_memory_bytes"] <= 4 * 2**30


def test_a_finished_evaluation_starts_no_engine(run, pass_of, rows, tmp_path):
    run(pass_of())
    answerer = Answerer("tiny", "no such model", None, ("search:greedy",))
    asyncio.run(evaluate(Setting({}, None, 0), [answerer], rows, tmp_path))


def test_the_command_says_what_it_misses(question_file, tmp_path, capsys):
    files = ["--model", str(tmp_path), "--out", str(tmp_path / "out"), "--retriever", NOBODY]
    assert main([*files, "--benchmarks", str(tmp_path / "absent.parquet")]) == 1
    assert "no file at" in capsys.readouterr().err
    assert main(["--model", "m", *files[2:], "--benchmarks", str(question_file)]) == 1
    assert "--model: there is no folder m; name one" in capsys.readouterr().err
    assert main([*files, "--benchmarks", str(question_file), "--method", "search,guess"]) == 1
    assert "unknown method 'guess'; choose from search, " in capsys.readouterr().err
    assert main([*files, "--benchmarks", str(question_file), "--method", "rag:boldly"]) == 1
    assert "unknown decoding 'boldly'" in capsys.readouterr().err
    assert main([*files, "--benchmarks", str(question_file), "--prompt", "two_shots"]) == 1
    assert "unknown prompt 'two_shots'" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("5")
    config = ["--config", str(tmp_path / "config.yaml")]
    assert main([*files, *config, "--benchmarks", str(question_file)]) == 1
    assert "config.yaml cannot be used" in capsys.readouterr().err


def test_a_dry_run_counts_what_would_be_asked(run, pass_of, rows, question_file, tmp_path, capsys):
    one = pass_of()
    run(one)
    files = ["--model", "m", "--name", "tiny", "--out", str(tmp_path)]
    options = ["--benchmarks", str(question_file), "--method", "search,rag:sampled1", "--dry-run"]
    assert main([*files, *options]) == 0
    done, todo = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert done == f"0 of {len(rows)} questions to ask"
    tokens = sum(len(r["prompt_ids"]) + len(r["response_ids"]) for r in read_lines(one.path))
    assert todo == (
        f"{len(rows)} of {len(rows)} questions to ask, about {tokens:,} tokens, 0.0 minutes "
        "(as tiny.search.greedy took, without starting the engine)"
    )
    one.path.unlink()
    assert main([*files, *options]) == 0
    first, _ = capsys.readouterr().out.splitlines()
    most = len(rows) * (200 + 4096)
    assert f"at most some {most:,} tokens; minutes are known once some are" in first
    assert not (tmp_path / "tiny.rag.sampled1.jsonl").exists()


@pytest.mark.slow  # imports transformers' models
def test_a_method_the_format_cannot_force_is_refused_before_an_engine_starts(
    rows, bpe_tokenizer, tmp_path
):
    bpe_tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    answerer = Answerer("tiny", str(tmp_path / "model"), None, ("search", "search_always"))
    setting = Setting({"search_r1": {"parser": "mistral"}}, NOBODY, 0)
    with pytest.raises(
        DataPrepError, match=r"search_always cannot be forced.*does not write calls"
    ):
        asyncio.run(evaluate(setting, [answerer], rows, tmp_path))


def test_models_take_turns_in_one_engine_only_when_they_are_of_one_shape(tmp_path):
    def save(name, **config):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"hidden_size": 8} | config))
        return str(tmp_path / name)

    one, same = save("one", dtype="float32"), save("same", dtype="bfloat16")
    assert _shape(one) == _shape(same)
    assert _shape(save("wider", hidden_size=16)) != _shape(one)
    assert _shape("hub/a") != _shape("hub/b")


def test_lines_are_json_of_one_record_each(run, pass_of, rows):
    one = pass_of()
    run(one)
    assert all(json.loads(line) for line in one.path.read_text().splitlines())


def test_answers_to_questions_that_are_not_asked_are_not_taken_for_these(run, pass_of, rows):
    one = pass_of()
    run(one)
    before = one.path.read_bytes()
    with pytest.raises(DataPrepError, match=r"holds 1 answers to other questions"):
        one.tidy(rows[1:])
    assert one.path.read_bytes() == before


def test_however_often_it_is_stopped_the_file_is_the_same(run, pass_of, rows, policy):
    one = pass_of("search", "sampled3")
    run(one)
    whole = read_lines(one.path)
    seeds = sorted(policy.seeds)
    lines = one.path.read_bytes().splitlines(keepends=True)
    one.path.write_bytes(lines[4] + lines[1] + lines[0][:50])
    policy.seeds.clear()
    run(one)
    assert [without_times(r) for r in read_lines(one.path)] == [without_times(r) for r in whole]
    assert [r["uid"] for r in read_lines(one.path)] == [uid_of(row) for row in rows]
    assert set(policy.seeds) < set(seeds)
    assert len(set(seeds)) == len(rows)


def without_times(record):
    turns = [
        {key: value for key, value in turn.items() if not key.endswith("_s") and key != "calls"}
        for turn in record["turns"]
    ]
    return record | {"turns": turns}


def test_rag_reads_what_the_question_finds_before_it_answers(run, pass_of, rows, searcher, policy):
    one = pass_of("rag")
    run(one)
    assert sorted(searcher.queries) == sorted(row["extra_info"]["question"] for row in rows)
    for record in read_lines(one.path):
        assert record["metadata"]["given"] == ["1"]
        assert record["stop_reason"] == "answer"
    assert all("Doc 1(Title: Dracula) a novel by Bram Stoker" in text for text in policy.contexts)


def test_an_oracle_gives_only_passages_with_a_gold_answer(run, pass_of):
    one = pass_of("oracle")
    run(one)
    given = {r["question"]: r["metadata"]["given"] for r in read_lines(one.path)}
    assert given["who wrote Dracula?"] == ["1"]
    assert given["what is the capital of France?"] == []


@pytest.mark.parametrize("option", ["--name", "--method", "--prompt"])
def test_what_a_plan_says_itself_is_not_given_beside_it(option, tmp_path, capsys):
    files = ["--plan", "plan.json", "--benchmarks", "nq", "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        main([*files, option, "search"])
    assert "--plan says name, method and prompt itself" in capsys.readouterr().err


def test_progress_goes_to_a_run_only_when_results_do(tmp_path):
    setting = Setting({"search_r1": {"run_dir": str(tmp_path / "run")}}, None, 0)
    assert setting.report_for(tmp_path / "run" / "eval") is not None
    assert setting.report_for(tmp_path / "results") is None
    assert Setting({}, None, 0).report_for(tmp_path) is None
