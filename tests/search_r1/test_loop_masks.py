"""Token in, token out: what the engine sampled and was fed is what the trajectory holds."""

import pytest

from search_r1.policies.scripted import ScriptedTurn
from search_r1.types import FinishReason, Passage, StopReason

ANSWER = "<answer>Bram Stoker</answer>"
SCRIPTS = {
    "search, answer": ["Think. <search>Dracula author</search>", ANSWER],
    "three searches": [
        "<search>a</search>",
        "é <search>富士山</search>",
        "<search>🐋</search>",
        ANSWER,
    ],
    "mistakes": [
        ScriptedTurn("No idea 🤷", has_eos=True),
        "<search></search>",
        "<information>",
        ANSWER,
    ],
    "overrun": [
        ScriptedTurn("<search>a</search>", overrun=" and\n"),
        ScriptedTurn(ANSWER, overrun=". So"),
    ],
    "tokens that overrun": ["<search>a</search>. And", "<answer>b</answer>. And"],
    "special tokens as text": ["<|im_end|> <|end|> <search><|user|> x</search>", ANSWER],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_mask_one_is_the_models_text_and_mask_zero_the_observations(
    codec, rollout, check_exact, name
):
    trajectory, policy, _ = rollout(codec, SCRIPTS[name], max_nudges=3)
    assert trajectory.stop_reason is StopReason.ANSWER
    assert len(trajectory.turns) == len(SCRIPTS[name])
    check_exact(trajectory, policy, codec)


@pytest.mark.parametrize("budget", range(1, 40))
def test_a_turn_cut_at_any_token_keeps_its_ids(codec, rollout, check_exact, budget):
    script = ["naïve 富士山 🐋🐋 <search>Škocjan 🐋</search>. And so", *[ANSWER] * 3]
    trajectory, policy, _ = rollout(codec, script, max_turn_tokens=budget, max_nudges=2)
    first = trajectory.turns[0]
    assert trajectory.response_ids[: first.num_ids] == codec.encode(script[0])[: first.num_ids]
    assert first.stop_reason in (FinishReason.LENGTH, FinishReason.STOP)
    check_exact(trajectory, policy, codec)


def test_an_end_of_text_token_is_kept_and_trained(codec, rollout, check_exact):
    trajectory, policy, _ = rollout(
        codec, [ScriptedTurn("I give up.", has_eos=True), ANSWER], max_nudges=1
    )
    first = trajectory.turns[0]
    assert first.stop_reason is FinishReason.EOS
    assert trajectory.response_ids[first.num_ids - 1] in codec.eos_ids
    assert trajectory.response_mask[first.num_ids - 1] == 1
    check_exact(trajectory, policy, codec)


def test_padding_that_is_the_end_of_text_token_changes_no_mask(
    tokenizer, codec, rollout, check_exact
):
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    script = [ScriptedTurn("One.", has_eos=True), ScriptedTurn("Two.", has_eos=True)]
    trajectory, policy, _ = rollout(codec, script, max_nudges=1)
    is_eos = [id_ in codec.eos_ids for id_ in trajectory.response_ids]
    assert sum(is_eos) == 2
    assert [mask for mask, eos in zip(trajectory.response_mask, is_eos, strict=True) if eos] == [
        1,
        1,
    ]
    check_exact(trajectory, policy, codec)


def test_a_token_that_overruns_the_stop_string_stays_and_is_counted(
    bpe_codec, rollout, check_exact
):
    text = "<search>Dracula</search>. And"
    trajectory, policy, searcher = rollout(bpe_codec, [text, "<answer>b</answer>. And"])
    first, last = trajectory.turns
    assert first.model_text == "<search>Dracula</search>."
    assert last.model_text == "<answer>b</answer>."
    assert bpe_codec.decode(trajectory.response_ids[first.num_ids - 1 : first.num_ids]) == ">."
    assert (first.overrun, last.overrun) == (True, True)
    assert searcher.asked[0][0] == ["Dracula"]
    assert trajectory.prediction == "b"
    check_exact(trajectory, policy, bpe_codec)


def test_a_turn_that_ends_with_its_tag_has_no_overrun(codec, rollout):
    trajectory, _, _ = rollout(codec, ["<search>Dracula</search>", ANSWER])
    assert [turn.overrun for turn in trajectory.turns] == [False, False]


def test_sampled_ids_that_encode_otherwise_are_kept(bpe_codec, rollout, check_exact):
    """The model may write ">" and "." as two tokens where the tokenizer would write one."""
    script = [ScriptedTurn("<search>Dracula</search>", overrun="."), ANSWER]
    trajectory, policy, _ = rollout(bpe_codec, script)
    first = trajectory.turns[0]
    written = trajectory.response_ids[: first.num_ids]
    assert bpe_codec.encode(first.model_text) != written
    assert bpe_codec.decode(written[-2:]) == ">."
    check_exact(trajectory, policy, bpe_codec)


def test_special_tokens_inside_passages_are_broken_up(tokenizer, codec, rollout, searcher_of):
    text = " ".join(["a", *tokenizer.all_special_tokens, "b"])
    searcher = searcher_of([Passage("t", tokenizer.eos_token, text)])
    for cap in (500, 60):
        trajectory, _, _ = rollout(
            codec, ["<search>a</search>", ANSWER], searcher=searcher, max_observation_tokens=cap
        )
        first = trajectory.turns[0]
        given = trajectory.response_ids[first.num_ids : first.num_ids + first.num_observation_ids]
        assert not set(given) & set(tokenizer.all_special_ids)
        assert tokenizer.eos_token not in first.observation_text
        assert f"< {tokenizer.eos_token[1:]}" in first.observation_text


def test_a_dump_holds_everything_needed_to_check_it(codec, rollout):
    trajectory, _, _ = rollout(codec, ["<search>a</search>", ANSWER])
    record = trajectory.to_json()
    ids, mask = record["response_ids"], record["response_mask"]
    written = [id_ for id_, one in zip(ids, mask, strict=True) if one]
    given = [id_ for id_, one in zip(ids, mask, strict=True) if not one]
    assert codec.decode(written) == "".join(turn["model_text"] for turn in record["turns"])
    assert codec.decode(given) == "".join(turn["observation_text"] for turn in record["turns"])
