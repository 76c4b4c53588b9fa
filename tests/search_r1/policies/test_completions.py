"""A served model answers over real HTTP; what it refuses and what it may answer later differ."""

import asyncio

import pytest

from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.policies.completions import (
    KEY_VARIABLE,
    CompletionsPolicy,
    CompletionsServer,
    ServerRefused,
    ServerUnavailable,
    stopped_by,
)
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import FinishReason, StopReason
from search_r1.verify import find_problems
from tests.tiny_completions import Model, serve_model

PROMPT = "Question: who wrote Dracula?\n"
NOBODY = "http://127.0.0.1:9/v1"  # the discard port: nothing listens


def search_then_answer(prompt):
    if "</information>" in prompt:
        return "It says so. <answer>Bram Stoker</answer> and more"
    return "I look it up. <search>Dracula author</search> and more"


def ask(url, codec, work, name="tiny", opening=""):
    """Run something with a policy of the server at an address."""

    async def run():
        server = CompletionsServer(url, name)
        try:
            return await work(server, CompletionsPolicy(server, codec, opening).at(0.0, 7))
        finally:
            await server.aclose()

    return asyncio.run(run())


def generate(policy, codec, text, **options):
    options = {"max_tokens": 50, "stop": ["</search>", "</answer>"]} | options
    return policy.generate(codec.encode(text), **options)


@pytest.mark.parametrize("says_why", [True, False], ids=["as vLLM", "as others"])
def test_the_loop_runs_on_a_served_model(bpe_codec, searcher_of, passages, says_why):
    model, searcher = Model(search_then_answer, says_why), searcher_of(passages)

    async def work(server, policy):
        tools = ToolBox([SearchTool(searcher, 1)])
        loop = SearchLoop(policy, bpe_codec, SearchTagsParser(), tools, LoopConfig())
        return await loop.run(bpe_codec.encode(PROMPT))

    with serve_model(model) as url:
        trajectory = ask(url, bpe_codec, work)
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "Bram Stoker")
    assert searcher.asked == [(["Dracula author"], 1)]
    assert not list(find_problems(trajectory.to_json(), bpe_codec.decode))
    assert [turn.stop_reason for turn in trajectory.turns] == [FinishReason.STOP] * 2
    first, second = model.requests
    assert (first["prompt"], first["seed"], second["seed"]) == (PROMPT, 7, 8)
    assert second["prompt"] == bpe_codec.decode(
        trajectory.prompt_ids + trajectory.response_ids[: trajectory.turns[1].start]
    )
    assert set(first) == {"model", "prompt", "max_tokens", "temperature", "seed", "stop"}
    usage = trajectory.metadata["usage"]
    assert usage["completion_tokens"] == 6 + 5  # words, as this server counts
    assert usage["prompt_tokens"] == len(second["prompt"].split(" "))


@pytest.mark.parametrize("says_why", [True, False])
def test_a_text_that_the_model_ended_ends_with_its_token(bpe_codec, says_why):
    with serve_model(Model(lambda _: "I do not know.", says_why)) as url:
        got = ask(url, bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT))
    assert got.finish is FinishReason.EOS
    assert got.ids == [*bpe_codec.encode("I do not know."), bpe_codec.eos_ids[0]]
    assert got.logprobs == [0.0] * len(got.ids)


def test_a_text_that_was_cut_is_cut_however_many_ids_we_make_of_it(bpe_codec):
    with serve_model(Model(lambda _: "one two three four five")) as url:
        short = ask(
            url, bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT, max_tokens=3)
        )
    assert short.finish is FinishReason.LENGTH
    assert len(short.ids) <= 3


def test_what_the_server_adds_by_itself_is_not_sent(bpe_codec):
    model = Model(lambda _: "x")
    with serve_model(model) as url:
        ask(
            url,
            bpe_codec,
            lambda _, policy: generate(policy, bpe_codec, f"<s>{PROMPT}"),
            opening="<s>",
        )
    assert model.requests[0]["prompt"] == PROMPT


@pytest.mark.parametrize(
    ("choice", "context", "stops", "stop"),
    [
        ({"text": "<search>a", "stop_reason": "</search>"}, "", ["</search>"], "</search>"),
        ({"text": "<search>a", "matched_stop": "</search>"}, "", ["</search>"], "</search>"),
        ({"text": "<search>a", "stop_reason": None}, "", ["</search>"], ""),
        ({"text": "<search>a", "stop_reason": 2}, "", ["</search>"], ""),
        ({"text": "<search>a"}, "", ["</search>", "</answer>"], "</search>"),
        ({"text": "Paris"}, "Question?\n<answer>", ["</search>", "</answer>"], "</answer>"),
        ({"text": "<search>a <answer>b"}, "", ["</search>", "</answer>"], "</answer>"),
        ({"text": "Paris"}, "<answer>Rome</answer>\n", ["</search>", "</answer>"], ""),
        ({"text": "A line."}, "", ["\n", "</answer>"], "\n"),
    ],
)
def test_which_stop_string_it_was_is_told_or_seen(choice, context, stops, stop):
    assert stopped_by(choice, context, stops) == stop


def test_the_key_comes_from_the_environment_and_shows_nowhere(bpe_codec, monkeypatch):
    with serve_model(Model(lambda _: "x", key="s3cret")) as url:
        for key in (None, "wr0ng"):
            if key:
                monkeypatch.setenv(KEY_VARIABLE, key)
            with pytest.raises(ServerRefused, match=rf"refuses the key .*{KEY_VARIABLE}") as told:
                ask(url, bpe_codec, lambda server, _: server.check())
            assert "wr0ng" not in str(told.value)
        monkeypatch.setenv(KEY_VARIABLE, "s3cret")
        ask(url, bpe_codec, lambda server, _: server.check())


def test_a_server_that_is_away_or_busy_may_be_asked_again(bpe_codec):
    with pytest.raises(ServerUnavailable, match="ConnectError"):
        ask(NOBODY, bpe_codec, lambda server, _: server.check())
    model = Model(lambda _: "x")
    with serve_model(model) as url:
        for status in (429, 500, 503):
            model.failures = [status]
            with pytest.raises(ServerUnavailable, match=f"status {status}: .*not now"):
                ask(url, bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT))


def test_what_would_not_help_to_ask_again_is_refused(bpe_codec):
    model = Model(lambda _: "x")
    with serve_model(model) as url:
        with pytest.raises(ServerRefused, match="serves no model 'huge'; it has tiny"):
            ask(url, bpe_codec, lambda server, _: server.check(), name="huge")
        model.failures = [400]
        with pytest.raises(ServerRefused, match=r"refuses \(status 400\): .*not now"):
            ask(url, bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT))
        with pytest.raises(ServerRefused, match=r"refuses \(status 404\)"):
            ask(f"{url}/v1", bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT))
        for broken in ({}, {"choices": []}, {"choices": [{"text": None}]}):
            model.answer = lambda _, broken=broken: broken
            with pytest.raises(ServerRefused, match="answers without a"):
                ask(url, bpe_codec, lambda _, policy: generate(policy, bpe_codec, PROMPT))


@pytest.mark.parametrize("url", ["http://me:s3cret@host/v1", "http://host/v1?key=s3cret"])
def test_an_address_with_a_key_in_it_is_refused_without_showing_it(url):
    with pytest.raises(ValueError, match=KEY_VARIABLE) as told:
        CompletionsServer(url, "tiny")
    assert "s3cret" not in str(told.value)
    with pytest.raises(ValueError, match="is no address"):
        CompletionsServer("host:8000", "tiny")
