import asyncio
import subprocess
import sys

import pytest

from search_r1.errors import RetrieverError
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.policies.scripted import ScriptedPolicy, ScriptedTurn
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import FinishReason, StopReason

SEARCH = "I look it up. <search>Dracula author</search>"
ANSWER = "It says so. <answer>Bram Stoker</answer>"
JUNK = "I think I know it."


def test_search_then_answer(codec, rollout):
    trajectory, _, searcher = rollout(codec, [SEARCH, ANSWER], gold=["Bram Stoker"], top_k=2)
    assert trajectory.stop_reason is StopReason.ANSWER
    assert trajectory.prediction == "Bram Stoker"
    assert trajectory.gold_answers == ["Bram Stoker"]
    assert trajectory.num_searches == 1
    assert searcher.asked == [(["Dracula author"], 2)]
    first, last = trajectory.turns
    assert first.call.arguments == {"query": "Dracula author"}
    assert first.passage_ids == ["p01", "p02"]
    assert first.observation_text.startswith("\n<information>Doc 1(Title: Dracula) Dracula is")
    assert first.observation_text.endswith("</information>\n")
    assert (first.stop_reason, last.stop_reason) == (FinishReason.STOP, FinishReason.STOP)
    assert (first.well_formed, last.well_formed) == (True, True)
    assert (last.call, last.observation_text, last.num_observation_ids) == (None, "", 0)
    assert first.tool_s > 0
    assert first.generate_s > 0
    assert trajectory.model_text == SEARCH + ANSWER


def test_the_engine_is_told_every_stop_string(byte_codec, rollout):
    _, policy, _ = rollout(byte_codec, [ANSWER])
    assert set(policy.requests[0].stop) == {"</search>", "</answer>", "<information>"}


def test_two_searches_are_two_observations(byte_codec, rollout):
    trajectory, _, searcher = rollout(byte_codec, [SEARCH, "<search> born\n in </search>", ANSWER])
    assert [queries for queries, _ in searcher.asked] == [["Dracula author"], ["born in"]]
    assert trajectory.num_searches == 2
    assert trajectory.stop_reason is StopReason.ANSWER


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_search_limit_leaves_one_final_turn(byte_codec, rollout, allowed):
    trajectory, _, searcher = rollout(byte_codec, [SEARCH] * (allowed + 1), max_calls=allowed)
    assert trajectory.stop_reason is StopReason.SEARCH_LIMIT
    assert len(trajectory.turns) == allowed + 1
    assert len(searcher.asked) == trajectory.num_searches == allowed
    assert trajectory.turns[-1].num_observation_ids == 0
    assert trajectory.prediction is None


def test_the_final_turn_may_answer(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [SEARCH, ANSWER], max_calls=1)
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "Bram Stoker")


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_a_turn_without_action_is_told_so_while_nudges_are_left(byte_codec, rollout, allowed):
    trajectory, _, searcher = rollout(byte_codec, [JUNK] * (allowed + 1), max_nudges=allowed)
    assert trajectory.stop_reason is StopReason.NO_ACTION
    nudged, last = trajectory.turns[:-1], trajectory.turns[-1]
    assert len(nudged) == allowed
    assert last.num_observation_ids == 0
    for turn in nudged:
        assert "neither a call nor an answer" in turn.observation_text
        assert "<search>query</search>" in turn.observation_text
        assert not turn.well_formed
    assert searcher.asked == []
    assert trajectory.num_searches == 0


def test_an_answer_after_a_nudge_counts(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [JUNK, SEARCH, ANSWER], max_nudges=1)
    assert (trajectory.stop_reason, trajectory.num_searches) == (StopReason.ANSWER, 1)


def test_a_nudge_does_not_count_as_a_search(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [JUNK, SEARCH, ANSWER], max_nudges=1, max_calls=1)
    assert trajectory.stop_reason is StopReason.ANSWER


def test_a_nudge_is_not_lost_to_the_cap_on_passages(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [JUNK, ANSWER], max_observation_tokens=60, max_nudges=1)
    assert trajectory.stop_reason is StopReason.ANSWER


def test_a_forbidden_tag_that_overruns_a_call_is_no_mistake(bpe_codec, rollout):
    trajectory, _, _ = rollout(bpe_codec, [ScriptedTurn(SEARCH, overrun="<information>"), ANSWER])
    assert trajectory.stop_reason is StopReason.ANSWER
    assert trajectory.turns[0].overrun


@pytest.mark.parametrize("n_searches", [0, 1])
def test_a_retriever_failure_is_no_text_the_model_reads(
    codec, rollout, searcher_of, passages, n_searches
):
    searcher = searcher_of(passages)
    real_search = searcher.search

    async def search(queries, top_k):
        if len(searcher.asked) == n_searches:
            raise RetrieverError("connection refused at 127.0.0.1")
        return await real_search(queries, top_k)

    searcher.search = search
    trajectory, _, _ = rollout(codec, [SEARCH] * (n_searches + 1), searcher=searcher)
    assert trajectory.stop_reason is StopReason.RETRIEVER_FAILED
    assert trajectory.stop_reason.is_infrastructure
    assert "connection refused" in trajectory.metadata["retriever_error"]
    assert trajectory.num_searches == n_searches
    assert trajectory.turns[-1].num_observation_ids == 0
    assert trajectory.turns[-1].tool_s > 0
    everything = codec.decode(trajectory.prompt_ids + trajectory.response_ids)
    assert "refused" not in everything + "".join(turn.observation_text for turn in trajectory.turns)
    assert trajectory.response_mask[-1] == 1


def test_an_error_in_a_tool_ends_its_trajectory_and_not_the_batch(byte_codec, rollout, searcher_of):
    broken = searcher_of(error=ZeroDivisionError("of ours"))
    trajectory, _, _ = rollout(byte_codec, [SEARCH], searcher=broken)
    assert trajectory.stop_reason is StopReason.RETRIEVER_FAILED
    assert "ZeroDivisionError: of ours" in trajectory.metadata["retriever_error"]


def test_an_engine_that_gives_nothing_aborts(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [SEARCH, ""])
    assert trajectory.stop_reason is StopReason.ABORTED
    assert trajectory.stop_reason.is_infrastructure
    assert len(trajectory.turns) == 1


@pytest.mark.parametrize(
    ("text", "overrun", "prediction", "query"),
    [
        ("<search>q</search>", "<answer>a</answer>", None, "q"),
        ("<answer>a</answer>", "<search>q</search>", "a", None),
        ("<answer>a <search>q</search>", " b</answer>", None, "q"),
        ("<search>q <answer>a</answer>", " </search>", "a", None),
    ],
)
def test_of_a_search_and_an_answer_in_one_turn_the_first_closed_counts(
    byte_codec, rollout, text, overrun, prediction, query
):
    trajectory, _, searcher = rollout(byte_codec, [ScriptedTurn(text, overrun=overrun), ANSWER])
    assert [queries for queries, _ in searcher.asked] == ([[query]] if query else [])
    assert trajectory.prediction == (prediction or "Bram Stoker")
    assert trajectory.turns[0].overrun


def test_an_unclosed_answer_is_no_answer(byte_codec, rollout):
    trajectory, _, _ = rollout(
        byte_codec, [ScriptedTurn("<answer>Bram Stoker", has_eos=True)], max_nudges=0
    )
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.NO_ACTION, None)
    assert trajectory.turns[0].stop_reason is FinishReason.EOS


def test_an_empty_answer_ends_the_trajectory(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, ["<answer> </answer>"])
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "")


def test_no_passage_found_is_said(byte_codec, rollout, searcher_of):
    trajectory, _, _ = rollout(byte_codec, [SEARCH, ANSWER], searcher=searcher_of())
    assert (
        trajectory.turns[0].observation_text == "\n<information>Nothing was found.</information>\n"
    )
    assert trajectory.turns[0].passage_ids == []
    assert trajectory.num_searches == 1


def test_one_loop_runs_many_trajectories_at_once(byte_codec, searcher_of, passages):
    class Crowd:
        """Each trajectory, told apart by its prompt, has a script of its own."""

        def __init__(self):
            self.policies = {
                n: ScriptedPolicy([SEARCH] * n + [f"<answer>{n}</answer>"], byte_codec)
                for n in range(4)
            }

        async def generate(self, context_ids, *, max_tokens, stop, stop_token_ids):
            await asyncio.sleep(0)
            policy = self.policies[context_ids[0] - ord("0")]
            return await policy.generate(context_ids, max_tokens=max_tokens, stop=stop)

    async def run_all():
        tools = ToolBox([SearchTool(searcher_of(passages))])
        loop = SearchLoop(Crowd(), byte_codec, SearchTagsParser(), tools, LoopConfig())
        return await asyncio.gather(*(loop.run(byte_codec.encode(f"{n}")) for n in range(4)))

    for n, trajectory in enumerate(asyncio.run(run_all())):
        assert (trajectory.prediction, trajectory.num_searches) == (str(n), n)


@pytest.mark.parametrize("name", ["max_turn_tokens", "max_response_tokens", "min_answer_tokens"])
def test_a_limit_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
        LoopConfig(**{name: 0})


def test_a_script_that_runs_out_says_so(byte_codec, rollout):
    with pytest.raises(LookupError, match="the script has 1 turns and the loop asked for one more"):
        rollout(byte_codec, [SEARCH])


def test_importing_the_loop_imports_no_engine():
    code = (
        "import sys, search_r1.loop, search_r1.rewards, search_r1.metrics, search_r1.demo\n"
        "engines = {'torch', 'verl', 'vllm', 'ray', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {engines}' if engines else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("turn", "max_turn_tokens", "reason"),
    [
        (ScriptedTurn("<search>q</search>", has_eos=True), 500, FinishReason.STOP),
        (ScriptedTurn("<search>q</search>"), len("<search>q</search>"), FinishReason.STOP),
        (ScriptedTurn("word", has_eos=True), 500, FinishReason.EOS),
        (ScriptedTurn("word", has_eos=True), 5, FinishReason.EOS),
        (ScriptedTurn("word", has_eos=True), 4, FinishReason.LENGTH),
        (ScriptedTurn("word"), 500, FinishReason.ABORT),
    ],
)
def test_how_a_turn_ended_is_read_off_its_ids(byte_codec, rollout, turn, max_turn_tokens, reason):
    limits = {"max_turn_tokens": max_turn_tokens, "max_nudges": 0, "max_calls": 0}
    trajectory, _, _ = rollout(byte_codec, [turn], **limits)
    assert trajectory.turns[0].stop_reason is reason


def test_an_engine_that_breaks_off_is_not_the_models_mistake(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [ScriptedTurn("half a sent")], max_nudges=1)
    assert trajectory.stop_reason is StopReason.ABORTED
    assert trajectory.stop_reason.is_infrastructure
