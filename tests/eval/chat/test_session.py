"""What a chat tells of an answer, event by event, on the real loop."""

import asyncio

import pytest

from eval.chat.session import CHAT_METHODS, Question
from search_r1.errors import RetrieverUnavailable


async def events_of(session, text, **how):
    return [event async for event in session.ask(Question(text, **{"model": "tiny"} | how))]


def text_of(events, turn):
    return "".join(e["text"] for e in events if e["type"] == "text" and e["turn"] == turn)


async def test_a_question_is_told_as_it_is_searched_read_and_answered(session, searcher):
    events = await events_of(session, "who is number 1?")
    assert [kind for kind, _ in _runs(events)] == ["loading", "text", "turn", "text", "turn", "end"]
    assert text_of(events, 1) == "<search>Dracula</search>"
    first, second = (event["record"] for event in events if event["type"] == "turn")
    assert "Doc 1(Title: Dracula) a novel by Bram Stoker" in first["observation_text"]
    assert first["calls"][0]["name"] == "search"
    assert text_of(events, 2) == second["model_text"] == "<answer>Bram Stoker</answer>"
    end = events[-1]
    assert (end["prediction"], end["stop_reason"], end["searches"]) == ("Bram Stoker", "answer", 1)
    assert searcher.queries == ["Dracula"]


def _runs(events):
    kinds = [event["type"] for event in events]
    return [(kind, n) for n, kind in enumerate(kinds) if n == 0 or kinds[n - 1] != kind]


@pytest.mark.parametrize(
    ("method", "opening", "searches"),
    [("search_always", "<search>", 1), ("search_never", "<answer>", 0)],
)
async def test_what_a_method_makes_it_begin_with_is_shown_too(session, method, opening, searches):
    events = await events_of(session, "who wrote Dracula?", method=method)
    assert text_of(events, 1).startswith(opening)
    assert events[-1]["searches"] == searches


async def test_what_is_given_with_the_question_is_told(session):
    events = await events_of(session, "who wrote Dracula?", method="rag")
    assert "a novel by Bram Stoker" in events[-1]["given"]


async def test_a_model_is_loaded_once_and_one_that_cannot_be_is_said(session, gate):
    await events_of(session, "who wrote Dracula?")
    events = await events_of(session, "who wrote Dracula?")
    assert events[0]["type"] == "text"
    (loading, error) = await events_of(session, "why?", model="broken")
    assert (loading["type"], error["message"]) == ("loading", "broken has another shape")
    assert (await events_of(session, "who wrote Dracula?"))[0]["type"] == "text"
    assert gate["loads"] == ["tiny", "tiny", "broken", "tiny"]


async def test_a_retriever_that_is_away_ends_the_answer_and_is_named(session, searcher):
    searcher.failures = 100
    end = (await events_of(session, "who is number 1?"))[-1]
    assert (end["stop_reason"], end["prediction"]) == ("retriever_failed", None)
    assert RetrieverUnavailable.__name__ in end["problem"]


async def test_who_stops_listening_stops_the_model_and_the_next_is_answered(session, gate):
    gate["is_shut"] = True
    answer = session.ask(Question("who wrote Dracula?", "tiny"))
    async for event in answer:
        if event["type"] == "text":
            break
    await answer.aclose()
    gate["is_shut"] = False
    assert (await events_of(session, "who wrote Dracula?"))[-1]["prediction"] == "Bram Stoker"


async def test_questions_take_turns(session, gate):
    gate["is_shut"] = True
    tasks = [asyncio.create_task(events_of(session, "who wrote Dracula?")) for _ in range(2)]
    await asyncio.sleep(0.3)
    assert gate["loads"] == ["tiny"]
    gate["is_shut"] = False
    assert [(await task)[-1]["type"] for task in tasks] == ["end", "end"]


def test_there_is_no_oracle_without_gold_answers():
    assert "oracle" not in CHAT_METHODS
    assert {"search", "search_always", "search_never", "direct"} <= CHAT_METHODS.keys()
