"""Real training steps on the CPU: verl, Ray, FSDP2, vLLM, a retrieval server, a tiny Llama."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from retriever.build import build_index
from search_r1.prompts import build_prompt
from search_r1.runs.places import RUN_ID_VARIABLE
from search_r1.verify import find_problems
from tests.run_readers import processes_marked, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_passages, tiny_questions):
    """A folder with model, index and questions, and the overrides that point the preset at them."""
    from tests.tiny_model import save_tiny_model  # imports torch

    folder = tmp_path_factory.mktemp("training")
    save_tiny_model(folder / "model")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(passage) + "\n" for passage in tiny_passages))
    build_index(corpus, folder / "index", "bm25")
    questions = [
        (
            "tiny",
            Question(q["id"], q["question"], tuple(q["gold_answers"]), "known", (q["question"],)),
        )
        for q in tiny_questions
    ]
    write_rows(make_rows(questions, "train", "search_r1"), folder / "train.parquet")
    write_rows(make_rows(questions[:4], "test", "search_r1"), folder / "test.parquet")
    overrides = [
        f"actor_rollout_ref.model.path={folder / 'model'}",
        f"search_r1.retriever.index={folder / 'index'}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'test.parquet'}",
        "data.train_batch_size=2",
        "data.max_prompt_length=560",  # a byte is a token here
        "data.max_response_length=400",
        "search_r1.loop.max_response_tokens=400",
        "search_r1.loop.max_turn_tokens=48",
        "search_r1.loop.max_observation_tokens=160",
        "search_r1.loop.max_nudges=1",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.max_model_len=1024",
        "trainer.total_training_steps=2",
        "trainer.val_before_train=true",
        "trainer.test_freq=1",
        "trainer.save_freq=1",
    ]
    return folder, overrides


def start(world, name, *overrides):
    """Start the launcher; its output goes to a file beside its runs, and so do its artifacts."""
    folder, common = world
    runs = folder / name
    runs.mkdir(exist_ok=True)
    environment = os.environ | {"SEARCH_R1_RUNS": str(runs), "SEARCH_R1_ARTIFACTS": str(runs)}
    command = [sys.executable, "-m", "search_r1.launch", "quickstart", *common, *overrides]
    with (runs / "output.txt").open("a") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output), runs


RL_ONLY = ("search_r1.cold_start=null", "search_r1.evaluation=null", "search_r1.prompt=null")


def only_run(runs):
    (run_dir,) = (runs / "quickstart").iterdir()
    return run_dir


def steps_of(run_dir):
    return {line["step"]: line for line in read_lines(run_dir / "metrics.jsonl")}


def test_ppo_with_critic_and_reference_trains_the_weights_vllm_samples_from(world):
    """The hardest configuration: value model, reference policy, recomputed log-probs."""
    launcher, runs = start(
        world,
        "ppo",
        *RL_ONLY,
        f"critic.model.path={world[0] / 'model'}",
        "critic.ppo_max_token_len_per_gpu=4096",
        "algorithm.adv_estimator=gae",
        "algorithm.rollout_correction.bypass_mode=false",
        "actor_rollout_ref.actor.use_kl_loss=true",
        "actor_rollout_ref.actor.optim.lr=0.003",
    )
    assert launcher.wait() == 0, (runs / "output.txt").read_text()[-6000:]
    run_dir = only_run(runs)
    steps = steps_of(run_dir)
    assert sorted(steps) == [0, 1, 2]
    for step in (1, 2):  # step 2 samples from weights that step 1 sent
        assert steps[step]["training/rollout_actor_probs_pearson_corr"] > 0.99
        assert math.isfinite(steps[step]["critic/vf_loss"])
    # The reference stays where the actor began.
    assert steps[2]["actor/kl_loss"] > 10 * abs(steps[1]["actor/kl_loss"])
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world[0] / "model")
    trajectories = all_records(run_dir)
    assert len(trajectories) == 2 * 8 + 3 * 4
    for record in trajectories:
        assert not list(find_problems(record, tokenizer.decode))
    assert any(turn["passage_ids"] for record in trajectories for turn in record["turns"])
    assert changed_logprobs(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["steps"] == 2
    assert {"em_before", "em_after", "searches_per_trajectory", "wall_s", "peak_rss_gb"} <= set(
        summary
    )


def test_rows_of_search_r1s_own_shape_are_trained_and_counted(world, tiny_questions):
    """Nothing in extra_info but split and index, the question in a column: 4 rows are 4 scores."""
    folder, _ = world
    rows = [
        {
            "id": f"test_{index}",
            "question": each["question"],
            "golden_answers": each["gold_answers"],
            "data_source": "nq",
            "prompt": build_prompt("search_r1", each["question"]),
            "ability": "fact-reasoning",
            "reward_model": {"style": "rule", "ground_truth": {"target": each["gold_answers"]}},
            "extra_info": {"split": "test", "index": index},
        }
        for index, each in enumerate(tiny_questions)
    ]
    for name, part in (("theirs_train", rows), ("theirs_test", rows[:4])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"{name}.parquet")
    launcher, runs = start(
        world,
        "theirs",
        *RL_ONLY,
        f"data.train_files={folder / 'theirs_train.parquet'}",
        f"data.val_files={folder / 'theirs_test.parquet'}",
        "actor_rollout_ref.rollout.n=2",
        "trainer.save_freq=-1",
    )
    assert launcher.wait() == 0, (runs / "output.txt").read_text()[-6000:]
    run_dir = only_run(runs)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["steps"], summary["em_questions"], summary["em_left_out"]) == (2, 4, 0)
    for step, figure in (("000000", "em_before"), ("000002", "em_after")):
        records = read_lines(run_dir / "eval" / f"step_{step}.jsonl")
        assert sorted(record["metadata"]["index"] for record in records) == [0, 1, 2, 3]
        assert {record["question"] for record in records} == {r["question"] for r in rows[:4]}
        ems = [record["reward"]["em"] for record in records]
        assert summary[figure] == sum(ems) / 4
        assert steps_of(run_dir)[int(step)]["val-core/nq/acc/mean@1"] == sum(ems) / 4


def all_records(run_dir):
    return [
        record
        for folder in ("trajectories", "eval")
        for path in sorted((run_dir / folder).glob("step_*.jsonl"))
        for record in read_lines(path)
    ]


def changed_logprobs(run_dir):
    """Tell whether vLLM gives the same prompt's first token another log-prob after an update."""
    before, after = (
        {r["question"]: (r["response_ids"][0], r["response_logprobs"][0]) for r in read_lines(path)}
        for path in (run_dir / "eval" / "step_000000.jsonl", run_dir / "eval" / "step_000002.jsonl")
    )
    assert before.keys() == after.keys()
    return all(before[question] != after[question] for question in before)


def assert_other_weights(before, after):
    """One engine, other weights: the same prompt is gone on with by another probability."""
    first, second = (
        {r["uid"]: (r["prompt_ids"], r["response_logprobs"][0]) for r in records}
        for records in (before, after)
    )
    for uid, (prompt_ids, logprob) in first.items():
        assert second[uid][0] == prompt_ids
        assert second[uid][1] != logprob


def test_a_run_begins_from_a_cold_start_and_compares_its_models(world):
    """The quickstart's stages: demonstrations, supervised training, GRPO, one evaluation."""
    folder, _ = world
    rows = {"train": folder / "train.parquet", "test": folder / "test.parquet"}
    launcher, runs = start(
        world,
        "stages",
        "search_r1.prompt=bare",
        f"search_r1.cold_start.questions={rows['train']}",
        "search_r1.cold_start.num_questions=4",
        "++search_r1.cold_start.batch_size=4",
        "++search_r1.cold_start.lr=0.003",
        f"search_r1.evaluation.questions={rows['test']}",
        "search_r1.evaluation.num_questions=4",
        "search_r1.evaluation.base_prompt=bare",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.total_training_steps=1",
    )
    assert launcher.wait() == 0, (runs / "output.txt").read_text()[-6000:]
    run_dir = only_run(runs)
    (cold_start,) = (runs / "cold_start").iterdir()
    notes = json.loads((run_dir / "launch.json").read_text())
    assert notes["cold_start"]["folder"] == str(cold_start)
    assert notes["cold_start"]["updates"] == 2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cold_start / "model")
    answered = {path.stem: read_lines(path) for path in (run_dir / "eval").glob("*.jsonl")}
    assert set(answered) == {
        *("base.search.greedy", "cold_start.search.greedy", "cold_start.search.sampled"),
        *(f"trained.{method}.greedy" for method in ("search", "search_always", "search_never")),
    }
    for records in (*answered.values(), all_records(run_dir)):
        assert records
        for record in records:
            assert not list(find_problems(record, tokenizer.decode))
    assert {len(records) for records in answered.values()} == {4}
    assert_other_weights(answered["base.search.greedy"], answered["cold_start.search.greedy"])
    summary = json.loads((run_dir / "summary.json").read_text())
    assert set(summary["evaluation"]["rows"]) == set(answered)
    from transformers import AutoModelForCausalLM

    saved = run_dir / "checkpoints" / "global_step_1" / "actor" / "huggingface"
    for folder in (cold_start / "model", saved):  # anybody can load them
        AutoModelForCausalLM.from_pretrained(folder)


def test_a_killed_run_goes_on_from_its_last_checkpoint(world):
    """GRPO with tool calls in chat messages, scored by verl's reward worker."""
    overrides = [
        *RL_ONLY,
        "search_r1.prompt_style=chat",
        "search_r1.result_style=chat",
        "search_r1.parser=hermes",
        "+search_r1.parser_options.is_single_call=true",
        "trainer.total_training_steps=3",
        "reward.custom_reward_function.path=pkg://search_r1.verl_plugin.reward",
        "reward.num_workers=1",
    ]
    launcher, runs = start(world, "resume", *overrides)
    deadline = time.monotonic() + 600
    while not list((runs / "quickstart").glob("*/checkpoints/latest_checkpointed_iteration.txt")):
        assert launcher.poll() is None, (runs / "output.txt").read_text()[-6000:]
        assert time.monotonic() < deadline, (runs / "output.txt").read_text()[-6000:]
        time.sleep(0.2)
    run_dir = only_run(runs)
    run_id = json.loads((run_dir / "launch.json").read_text())["parts"][-1]["run_id"]
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert not processes_marked(RUN_ID_VARIABLE, run_id, timeout_s=30)

    launcher, _ = start(world, "resume", *overrides, "trainer.resume_mode=auto")
    assert launcher.wait() == 0, (runs / "output.txt").read_text()[-6000:]
    assert only_run(runs) == run_dir
    assert sorted(steps_of(run_dir)) == [0, 1, 2, 3]
    parts = json.loads((run_dir / "launch.json").read_text())["parts"]
    assert parts[1]["resumed_step"] >= 1
    called = [turn for record in all_records(run_dir) for turn in record["turns"] if turn["calls"]]
    # By chance the tiny model may call nothing; what it called was answered.
    assert all(call["status"] == "ok" for turn in called for call in turn["calls"])
    answered = [turn["observation_text"] for turn in called if turn["num_observation_ids"]]
    assert all(text.startswith("<|end|>\ntool: Doc 1(Title: ") for text in answered)
