"""No trajectory is longer than its budget, and none ends on an observation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_r1.policies.scripted import ScriptedTurn
from search_r1.types import FinishReason, Passage, StopReason

SEARCH = "<search>q</search>"
ANSWER = "<answer>a</answer>"


def check_budgets(trajectory, policy, limits):
    """Check every limit on a finished trajectory."""
    total, per_turn = limits["max_response_tokens"], limits["max_turn_tokens"]
    assert len(trajectory.response_ids) <= total
    assert trajectory.stop_reason is not None
    for turn, request in zip(trajectory.turns, policy.requests, strict=False):
        assert request.max_tokens == min(per_turn, total - turn.start) >= 1
        assert turn.num_ids <= request.max_tokens
        if turn.num_observation_ids:
            assert (
                total - (turn.start + turn.num_ids + turn.num_observation_ids)
                >= limits["min_answer_tokens"]
            )
        if turn.call:
            assert turn.num_observation_ids <= limits["max_observation_tokens"]
    assert trajectory.num_searches <= limits["max_calls"]
    if trajectory.stop_reason is not StopReason.ABORTED:
        assert trajectory.response_mask[-1] == 1
        assert trajectory.turns[-1].num_observation_ids == 0


turn_texts = st.one_of(
    st.sampled_from(
        [SEARCH, SEARCH, ANSWER, "<search></search>", "<information>", "", "junk " * 30, "富士山🐋"]
    ),
    st.text(max_size=30),
    st.text(max_size=10).map(lambda query: f"<search>{query}</search>"),
)
turns = st.builds(
    ScriptedTurn, turn_texts, overrun=st.sampled_from(["", ".", " more"]), has_eos=st.booleans()
)
limits = st.fixed_dictionaries(
    {
        "max_calls": st.integers(0, 3),
        "max_nudges": st.integers(0, 2),
        "max_turn_tokens": st.integers(1, 80),
        "max_response_tokens": st.integers(1, 700),
        "max_observation_tokens": st.integers(49, 300),
        "min_answer_tokens": st.integers(1, 60),
    }
)


@pytest.mark.slow
@settings(max_examples=300)
@given(script=st.lists(turns, min_size=6, max_size=6), limits=limits)
def test_no_script_and_no_budget_breaks_a_limit(byte_codec, rollout, check_exact, script, limits):
    trajectory, policy, _ = rollout(byte_codec, script, **limits)
    check_budgets(trajectory, policy, limits)
    check_exact(trajectory, policy, byte_codec)


def test_every_total_budget_keeps_room_for_an_answer(
    codec, rollout, check_exact, searcher_of, passages
):
    limits = {
        "max_turn_tokens": 40,
        "max_observation_tokens": 60,
        "min_answer_tokens": 12,
        "max_calls": 2,
    }
    stops = []
    for total in range(1, 190, 3):
        limits["max_response_tokens"] = total
        trajectory, policy, _ = rollout(codec, [f"I look. {SEARCH}"] * 2 + [ANSWER], **limits)
        check_budgets(trajectory, policy, limits)
        check_exact(trajectory, policy, codec)
        stops.append(trajectory.stop_reason)
    assert stops[0] is StopReason.RESPONSE_LENGTH
    assert stops[-1] is StopReason.ANSWER


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_boundary_of_room_for_the_next_turn(byte_codec, rollout, searcher_of, spare):
    """One token less than needed, and the trajectory ends on the model's words."""
    observation = "\n<information>Nothing was found.</information>\n"
    total = len(SEARCH) + len(observation) + 20 + spare
    trajectory, _, _ = rollout(
        byte_codec,
        [SEARCH, ANSWER],
        searcher=searcher_of(),
        max_response_tokens=total,
        min_answer_tokens=20,
    )
    expected = StopReason.RESPONSE_LENGTH if spare < 0 else StopReason.ANSWER
    assert trajectory.stop_reason is expected
    if spare < 0:
        assert len(trajectory.response_ids) == len(SEARCH)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_boundary_of_a_turns_budget(byte_codec, rollout, spare):
    trajectory, _, _ = rollout(
        byte_codec, [ANSWER], max_turn_tokens=len(ANSWER) + spare, max_nudges=0
    )
    turn = trajectory.turns[0]
    if spare < 0:
        assert (turn.stop_reason, trajectory.stop_reason) == (
            FinishReason.LENGTH,
            StopReason.NO_ACTION,
        )
    else:
        assert (turn.stop_reason, trajectory.stop_reason) == (FinishReason.STOP, StopReason.ANSWER)


@pytest.mark.parametrize("max_nudges", [0, 1])
def test_a_spent_total_budget_is_its_own_stop_reason(byte_codec, rollout, max_nudges):
    trajectory, _, _ = rollout(
        byte_codec,
        ["word " * 50],
        max_response_tokens=40,
        max_turn_tokens=100,
        max_nudges=max_nudges,
    )
    assert trajectory.stop_reason is StopReason.RESPONSE_LENGTH
    assert len(trajectory.response_ids) == 40


def test_an_answer_that_fills_the_budget_to_the_last_token_counts(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [ANSWER], max_response_tokens=len(ANSWER))
    assert trajectory.stop_reason is StopReason.ANSWER


def test_a_search_that_fills_the_budget_ends_on_the_models_words(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, [SEARCH], max_response_tokens=len(SEARCH))
    assert trajectory.stop_reason is StopReason.RESPONSE_LENGTH
    assert trajectory.num_searches == 0


@pytest.mark.parametrize("cap", [60, 61, 62, 63, 64, 80, 120])
def test_the_observation_cap_holds_for_text_of_many_bytes(byte_codec, rollout, searcher_of, cap):
    searcher = searcher_of([Passage("f", "富士", "🐋富士山é" * 50)])
    trajectory, _, _ = rollout(
        byte_codec, [SEARCH, ANSWER], searcher=searcher, max_observation_tokens=cap
    )
    first = trajectory.turns[0]
    assert 0 < first.num_observation_ids <= cap
    assert "\ufffd" not in first.observation_text
    assert first.observation_truncated


def test_an_observation_cap_below_its_own_tags_is_refused_at_once(byte_codec, rollout):
    with pytest.raises(ValueError, match="takes 47 tokens already"):
        rollout(byte_codec, [ANSWER], max_observation_tokens=47)
