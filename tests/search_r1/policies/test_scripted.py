import asyncio

import pytest

from search_r1.policies.scripted import ScriptedPolicy, ScriptedTurn
from search_r1.types import digest

STOP = ("</search>", "</answer>")


def sample(policy, context=(1, 2), max_tokens=500):
    return asyncio.run(policy.generate(list(context), max_tokens=max_tokens, stop=STOP))


def test_texts_are_played_in_order_as_ids(bpe_codec):
    policy = ScriptedPolicy([ScriptedTurn("one"), "two"], bpe_codec, logprob=-0.25)
    first, second = sample(policy), sample(policy, context=[3])
    assert first.ids == bpe_codec.encode("one")
    assert first.logprobs == [-0.25] * len(first.ids)
    assert second.ids == [*bpe_codec.encode("two"), *bpe_codec.eos_ids]
    assert [request.context_ids for request in policy.requests] == [[1, 2], [3]]
    assert first.context_digest == digest([1, 2])


def test_nothing_is_sampled_after_the_token_that_completes_a_stop_string(bpe_codec):
    policy = ScriptedPolicy(
        [ScriptedTurn("<search>a</search>. Then <answer>b</answer>", has_eos=True)], bpe_codec
    )
    assert bpe_codec.decode(sample(policy).ids) == "<search>a</search>."


def test_overrun_text_comes_with_the_stop_string(byte_codec):
    policy = ScriptedPolicy(
        [ScriptedTurn("<search>a</search> never", overrun=" and", has_eos=True)], byte_codec
    )
    assert byte_codec.decode(sample(policy).ids) == "<search>a</search> and"


@pytest.mark.parametrize("max_tokens", [1, 5, 18, 19, 22])
def test_the_budget_cuts_everything(byte_codec, max_tokens):
    policy = ScriptedPolicy([ScriptedTurn("<search>a</search>", overrun=" and")], byte_codec)
    generation = sample(policy, max_tokens=max_tokens)
    assert byte_codec.decode(generation.ids) == "<search>a</search> and"[:max_tokens]
    assert policy.requests[0].max_tokens == max_tokens


def test_recorded_contexts_do_not_change_afterwards(byte_codec):
    policy, context = ScriptedPolicy(["a"], byte_codec), [1, 2]
    asyncio.run(policy.generate(context, max_tokens=5, stop=STOP))
    context.append(3)
    assert policy.requests[0].context_ids == [1, 2]


def test_a_script_that_runs_out_shows_where(byte_codec):
    policy = ScriptedPolicy([], byte_codec)
    with pytest.raises(
        LookupError, match=r"the script has 0 turns .* The context ends with 'Question"
    ):
        sample(policy, context=byte_codec.encode("Question"))
