"""The agent loop as verl calls it, with a server that says what a test has it say."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from search_r1.errors import RetrieverUnavailable
from search_r1.runs.progress import read_progress
from search_r1.types import Passage
from search_r1.verl_plugin.agent_loop import SearchAgentLoop
from search_r1.verl_plugin.parts import shared
from tests.search_r1.client.conftest import FlakyServer

SEARCH, ANSWER = "<search>Dracula</search>", "<answer>Bram Stoker</answer>"
ROW = {
    "uid": "question-1",
    "session_id": 2,
    "global_steps": 3,
    "index": 7,
    "raw_prompt": [{"role": "user", "content": "Question: who wrote Dracula?"}],
    "data_source": "nq",
    "reward_model": {"ground_truth": {"target": ["Bram Stoker"]}},
    "extra_info": {"question": "who wrote Dracula?", "knowledge": "unknown"},
}


class Servers:
    """verl's client of its rollout servers: writes each text in turn, then nothing.

    Each is written by newer weights than the one before.
    """

    def __init__(self, tokenizer, texts):
        self._tokenizer = tokenizer
        self._texts = list(texts)
        self._version = 1

    async def generate(self, request_id, prompt_ids, sampling_params):
        assert (request_id, sampling_params["temperature"]) == ("question-1_2", 1.0)
        text = self._texts.pop(0) if self._texts else ""
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        self._version += 1
        versions = {"min_global_steps": self._version, "max_global_steps": self._version}
        return SimpleNamespace(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields=versions)


def make_config(folder, own_reward, prompt_length, url, is_masked):
    """Make a training config whose model and run lie in a folder."""
    client = {"url": url, "backoff_s": 0.01} if url else {}
    return OmegaConf.create(
        {
            "search_r1": {
                "top_k": 1,
                "is_observation_masked": is_masked,
                "loop": {"max_nudges": 0},
                "run_dir": str(folder),
                "retriever": {"client": client},
            },
            "actor_rollout_ref": {
                "model": {"path": str(folder)},
                "rollout": {"prompt_length": prompt_length},
            },
            "reward": {"custom_reward_function": {"path": own_reward}},
            "data": {},
        }
    )


@pytest.fixture
def roll_out(tmp_path, bpe_tokenizer):
    """Run one trajectory of a row; the retriever gives a passage, or raises ``error``.

    With ``url`` it is the server there.
    """
    bpe_tokenizer.save_pretrained(tmp_path)
    other_eos = {"eos_token_id": [bpe_tokenizer.eos_token_id, 5]}
    (tmp_path / "generation_config.json").write_text(json.dumps(other_eos))

    def run(
        *texts,
        error=None,
        own_reward=None,
        prompt_length=64,
        url=None,
        is_masked=True,
        **columns,
    ):
        config = make_config(tmp_path, own_reward, prompt_length, url, is_masked)

        async def search(queries, top_k):
            if error is not None:
                raise error
            return [[Passage("1", "Dracula", "a novel by Bram Stoker")] for _ in queries]

        async def run_one():
            if url is None:
                shared(config, bpe_tokenizer).client.search = search
            loop = SearchAgentLoop(
                trainer_config=SimpleNamespace(config=config),
                server_manager=Servers(bpe_tokenizer, texts),
                tokenizer=bpe_tokenizer,
                processor=None,
                hf_model_type=None,
                dataset_cls=None,
                data_config=SimpleNamespace(config=config.data),
                tools=None,
            )
            return await loop.run({"temperature": 1.0}, **(ROW | columns))

        return asyncio.run(run_one())

    return run


def test_a_trajectory_is_handed_over_token_by_token(roll_out, bpe_tokenizer):
    output = roll_out(SEARCH, ANSWER)
    record = output.extra_fields["trajectory"]
    written = [i for i, one in zip(output.response_ids, output.response_mask, strict=True) if one]
    assert bpe_tokenizer.decode(written) == SEARCH + ANSWER
    read = [i for i, one in zip(output.response_ids, output.response_mask, strict=True) if not one]
    assert "a novel by Bram Stoker" in bpe_tokenizer.decode(read)
    logprobs = zip(output.response_logprobs, output.response_mask, strict=True)
    assert all(logprob == -0.5 * one for logprob, one in logprobs)
    assert bpe_tokenizer.decode(output.prompt_ids) == ROW["raw_prompt"][0]["content"]
    assert (output.reward_score, output.num_turns) == (1.0, 2 + 1 + 1)
    assert (record["uid"], record["step"], record["stop_reason"]) == ("question-1_2", 3, "answer")
    noted = record["metadata"]
    assert (noted["data_source"], noted["index"], noted["knowledge"]) == ("nq", 7, "unknown")
    assert output.extra_fields["model_text"] == SEARCH + ANSWER


def test_verl_learns_which_weights_wrote_a_trajectory(roll_out):
    fields = roll_out(SEARCH, SEARCH, ANSWER).extra_fields
    assert (fields["min_global_steps"], fields["max_global_steps"]) == (2, 4)


@pytest.mark.parametrize(
    ("texts", "scores"),
    [
        ((SEARCH, ANSWER), {"acc": 1, "f1": 1, "format": 1, "searches": 1, "answered": 1}),
        ((SEARCH, SEARCH), {"acc": 0, "f1": 0, "format": 0, "searches": 2, "answered": 0}),
        # one word of one that is right, of two in the gold answer: 2 * 1 * 0.5 / 1.5
        (("<answer>Stoker</answer>",), {"f1": 2 / 3, "acc": 0, "searches": 0, "answered": 1}),
    ],
)
def test_validation_gets_each_score_of_a_trajectory(roll_out, texts, scores):
    given = roll_out(*texts).extra_fields["reward_extra_info"]
    assert given.keys() == {"acc", "f1", "format", "searches", "answered", "lost"}
    assert {name: given[name] for name in scores} == pytest.approx(scores)


def test_verl_learns_how_long_generation_and_tools_took(roll_out):
    output = roll_out(SEARCH, SEARCH, ANSWER)
    turns = output.extra_fields["trajectory"]["turns"]
    assert min(turn["generate_s"] for turn in turns) > 0
    assert turns[0]["tool_s"] > 0 < turns[1]["tool_s"]
    assert output.metrics.generate_sequences == sum(turn["generate_s"] for turn in turns)
    assert output.metrics.tool_calls == sum(turn["tool_s"] for turn in turns)


@pytest.mark.parametrize(
    ("columns", "stage"),
    [({}, "rollout"), ({"is_validation": False}, "rollout"), ({"is_validation": True}, "evaluate")],
)
def test_progress_tells_training_from_validation(roll_out, tmp_path, columns, stage):
    roll_out(SEARCH, ANSWER, **columns)
    seen = read_progress(tmp_path)
    assert (seen.stage, seen.step, seen.done, seen.counts["turns"]) == (stage, 3, 1, 2)


def test_a_search_that_was_tried_again_is_noted(roll_out):
    server = FlakyServer()
    try:
        server.script = [(503, "loading", {})]
        noted = roll_out(SEARCH, ANSWER, url=server.url).extra_fields["trajectory"]["metadata"]
    finally:
        server.die()
    assert noted["retriever_retries"] == 1


def test_a_trajectory_that_the_retriever_lost_is_masked_out_of_learning(roll_out):
    output = roll_out(SEARCH, error=RetrieverUnavailable("it is down"))
    record = output.extra_fields["trajectory"]
    assert record["stop_reason"] == "retriever_failed"
    assert any(record["response_mask"]), "the record keeps what the model wrote"
    assert output.response_mask == [0] * len(output.response_ids)
    assert output.reward_score == 0.0
    assert output.extra_fields["reward_extra_info"]["lost"] == 1.0


def test_without_the_observation_mask_all_is_learned_from_and_the_record_says_who_wrote_it(
    roll_out,
):
    output = roll_out(SEARCH, ANSWER, is_masked=False)
    assert output.response_mask == [1] * len(output.response_ids)
    assert 0 in output.extra_fields["trajectory"]["response_mask"]
    assert not any(
        roll_out(SEARCH, error=RetrieverUnavailable("down"), is_masked=False).response_mask
    )


def test_a_trajectory_that_the_engine_never_began_is_one_masked_token(roll_out, bpe_tokenizer):
    output = roll_out()
    assert output.extra_fields["trajectory"]["stop_reason"] == "aborted"
    assert output.response_ids == [bpe_tokenizer.eos_token_id]
    assert (output.response_mask, output.response_logprobs) == ([0], [0.0])


def test_a_wrong_answer_is_learned_from(roll_out):
    output = roll_out("<answer>Dublin</answer>")
    assert output.reward_score == 0.0
    assert all(output.response_mask)


def test_another_reward_function_scores_in_the_loops_place(roll_out):
    output = roll_out(ANSWER, own_reward="pkg://search_r1.verl_plugin.reward")
    assert output.reward_score is None
    assert output.extra_fields["trajectory"]["reward"]["total"] == 1.0


def test_a_row_of_search_r1_has_its_question_in_a_column_or_its_prompt(roll_out):
    bare = {"extra_info": {"split": "test"}, "index": None}
    asked = roll_out(ANSWER, question="who wrote it?", **bare).extra_fields["trajectory"]
    assert (asked["question"], asked["metadata"]["index"]) == ("who wrote it?", 0)
    assert asked["metadata"]["knowledge"] == ""
    shown = roll_out(ANSWER, **bare).extra_fields["trajectory"]
    assert shown["question"] == ROW["raw_prompt"][0]["content"]


def test_a_gold_answer_given_as_a_string_never_scores(roll_out):
    with pytest.raises(ValueError, match="target is 'Paris'; expected a list"):
        roll_out("<answer>s</answer>", reward_model={"ground_truth": {"target": "Paris"}})


def test_a_prompt_beyond_the_limit_is_refused(roll_out):
    length = len(roll_out(ANSWER).prompt_ids)
    assert roll_out(ANSWER, prompt_length=length).reward_score == 1.0
    with pytest.raises(ValueError, match=rf"a prompt has {length} tokens.*begins: 'Question: who"):
        roll_out(ANSWER, prompt_length=length - 1)
    with pytest.raises(ValueError, match=r"more than data.max_prompt_length=3"):
        roll_out(ANSWER, prompt_length=3)
