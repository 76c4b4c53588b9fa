"""A retrieval server that is away is waited for, and told of; one that stays away ends the run."""

import asyncio

import pytest

from data_prep.steps import DataPrepError
from eval import patient
from eval.patient import PatientClient
from search_r1.errors import RetrieverBadRequest, RetrieverUnavailable
from tests.run_readers import read_lines


class Client:
    """Fails as it is told, then finds nothing."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.asked = 0

    async def search(self, queries, top_k):
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        return [[] for _ in queries]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(patient, "_PAUSE_S", 0)


def test_a_server_that_comes_back_is_asked_again(capsys):
    client = Client(RetrieverUnavailable("down"), RetrieverUnavailable("still down"))
    found = asyncio.run(PatientClient(client, "http://x", 60).search(["a", "b"], 1))
    assert found == [[], []]
    assert client.asked == 3
    assert "http://x does not answer (down); waiting up to 60 s" in capsys.readouterr().out


def test_a_server_that_stays_away_ends_the_run_with_its_name():
    client = Client(*[RetrieverUnavailable("down")] * 3)
    with pytest.raises(DataPrepError, match=r"http://x does not answer \(down\); start it again"):
        asyncio.run(PatientClient(client, "http://x", 0).search(["a"], 1))


def test_a_request_that_is_refused_is_not_asked_again():
    client = Client(RetrieverBadRequest("too many"))
    with pytest.raises(DataPrepError, match="http://x refuses: too many"):
        asyncio.run(PatientClient(client, "http://x", 60).search(["a"], 1))
    assert client.asked == 1


def test_what_the_retriever_failed_on_is_asked_again_and_never_scored(run, pass_of, searcher):
    one = pass_of("search_always")
    searcher.failures = 2
    run(one)
    records = read_lines(one.path)
    assert {record["stop_reason"] for record in records} == {"answer"}
    assert len(records) == 5
    assert searcher.queries.count("is anybody there?") == 2


def test_a_search_that_fails_while_others_are_answered_ends_the_pass(
    run, pass_of, searcher, monkeypatch
):
    answer = searcher.search

    async def refuse_dracula(queries, top_k):
        if "Dracula" in queries:
            raise RetrieverUnavailable("too strange")
        return await answer(queries, top_k)

    monkeypatch.setattr(searcher, "search", refuse_dracula)
    with pytest.raises(ExceptionGroup) as caught:
        run(pass_of("search_always"))
    (error, *_) = caught.value.exceptions
    assert isinstance(error, DataPrepError)
    assert "3 times not to what facts/" in str(error)
    assert "too strange" in str(error)
