"""A first turn that is made to begin with a search or an answer, as evaluation forces it."""

import asyncio

import pytest

from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers import get_tool_parser
from search_r1.policies.scripted import ScriptedPolicy, ScriptedTurn
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import StopReason, Turn
from search_r1.verify import find_problems

PROMPT = "Question: who wrote Dracula?\n"
ANSWER = "<answer>Bram Stoker</answer>"
HERMES = '<tool_call>\n{"name": "search", "arguments": {"query": "'


@pytest.fixture
def run_opened(searcher_of, passages):
    """Run a trajectory with an opening; gives it, its policy and the searcher."""

    def run(codec, script, opening, parser="search_tags", closing="", **limits):
        policy, searcher = ScriptedPolicy(script, codec), searcher_of(passages)
        config = LoopConfig(**limits)
        tools = ToolBox([SearchTool(searcher, 3)])
        loop = SearchLoop(policy, codec, get_tool_parser(parser)(), tools, config)
        trajectory = asyncio.run(loop.run(codec.encode(PROMPT), opening=opening, closing=closing))
        return trajectory, policy, searcher

    return run


def is_sound(trajectory, codec):
    return not list(find_problems(trajectory.to_json(), codec.decode))


@pytest.mark.parametrize(
    ("parser", "opening", "rest"),
    [
        ("search_tags", "<search>", "Dracula author</search>"),
        ("hermes", HERMES, 'Dracula author"}}\n</tool_call>'),
    ],
)
def test_a_forced_search_is_a_search(codec, run_opened, check_exact, parser, opening, rest):
    trajectory, policy, searcher = run_opened(codec, [rest, ANSWER], opening, parser)
    assert searcher.asked == [(["Dracula author"], 3)]
    first, second = trajectory.turns
    assert first.well_formed
    assert first.call.arguments == {"query": "Dracula author"}
    assert (first.opening, second.opening) == (opening, "")
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "Bram Stoker")
    assert trajectory.prompt_ids == codec.encode(PROMPT) + codec.encode(opening)
    assert opening not in trajectory.model_text
    assert first.model_text.startswith(rest[:10])
    assert policy.requests[0].context_ids == trajectory.prompt_ids
    check_exact(trajectory, policy, codec)
    assert is_sound(trajectory, codec)


def test_a_forced_answer_is_an_answer_at_once(codec, run_opened, check_exact):
    trajectory, policy, searcher = run_opened(codec, ["Bram Stoker</answer>"], "<answer>")
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "Bram Stoker")
    assert trajectory.num_searches == 0
    assert searcher.asked == []
    assert trajectory.turns[0].well_formed
    # What the model wrote is trained on, what it was given is not.
    num_sampled = trajectory.turns[0].num_ids
    assert trajectory.response_mask == [1] * num_sampled
    assert trajectory.to_json()["turns"][0]["opening"] == "<answer>"
    check_exact(trajectory, policy, codec)
    assert is_sound(trajectory, codec)


def test_without_an_opening_nothing_stands_before_the_first_turn(codec, run_opened):
    trajectory, _, _ = run_opened(codec, [ANSWER], "")
    assert trajectory.prompt_ids == codec.encode(PROMPT)
    assert trajectory.turns[0].opening == ""


def test_a_model_that_does_not_go_along_makes_a_mistake(bpe_codec, run_opened, check_exact):
    script = [ScriptedTurn("I do not want to", has_eos=True), ANSWER]
    trajectory, policy, searcher = run_opened(bpe_codec, script, "<search>")
    first, second = trajectory.turns
    assert first.is_malformed_call, "the search it was given was never closed"
    assert second.opening == "", "only the first turn is opened"
    assert trajectory.prediction == "Bram Stoker"
    assert searcher.asked == []
    check_exact(trajectory, policy, bpe_codec)


def test_the_opening_takes_nothing_of_the_models_budget(bpe_codec, run_opened):
    rest = "Dracula author</search>"
    room = len(bpe_codec.encode(rest))
    trajectory, policy, _ = run_opened(
        bpe_codec, [rest, ANSWER], "<search>", max_turn_tokens=room, max_nudges=0
    )
    assert policy.requests[0].max_tokens == room
    assert trajectory.num_searches == 1


def test_an_engine_that_writes_nothing_aborts_as_without_an_opening(bpe_codec, run_opened):
    trajectory, _, _ = run_opened(bpe_codec, [""], "<search>")
    assert trajectory.stop_reason is StopReason.ABORTED
    assert trajectory.turns == []


def test_a_turn_has_no_opening_of_itself():
    assert Turn("x", 0, 1, None, 0.0).opening == ""


@pytest.mark.parametrize("most", [1, 2])
def test_the_turn_after_the_last_search_is_made_to_begin_as_it_is_told(
    codec, run_opened, check_exact, most
):
    script = ["<search>Dracula</search>"] * most + ["Bram Stoker</answer>"]
    trajectory, policy, searcher = run_opened(
        codec, script, "", closing="So: <answer>", max_calls=most
    )
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "Bram Stoker")
    assert len(searcher.asked) == most
    assert [turn.opening for turn in trajectory.turns] == [""] * most + ["So: <answer>"]
    observed = [turn.observation_text for turn in trajectory.turns]
    assert [text.endswith("So: <answer>") for text in observed] == [False] * (most - 1) + [
        True,
        False,
    ]
    check_exact(trajectory, policy, codec)
    assert is_sound(trajectory, codec)


def test_a_closing_that_leaves_no_room_for_an_answer_is_left_out(bpe_codec, run_opened):
    call = ScriptedTurn("<search>Dracula</search>")
    room = len(bpe_codec.encode(call.text)) + 40
    trajectory, _, _ = run_opened(
        bpe_codec,
        [call, ScriptedTurn("<answer>x</answer>")],
        "",
        closing="So it is, after all of this, and of all the rest, and at the very end: <answer>",
        max_calls=1,
        max_response_tokens=room,
        max_observation_tokens=30,
        min_answer_tokens=12,
    )
    assert trajectory.turns[-1].opening == ""
    assert len(trajectory.response_ids) <= room
    assert is_sound(trajectory, bpe_codec)
