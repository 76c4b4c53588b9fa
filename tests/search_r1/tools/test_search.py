import asyncio

import pytest

from search_r1.client import SearchClient, SearchClientConfig
from search_r1.errors import RetrieverUnavailable
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Passage, ToolCall


async def test_a_query_becomes_passages(searcher_of, run_one):
    passages = [Passage(str(i), "T", "x") for i in range(5)]
    searcher = searcher_of(passages)
    outcome = await run_one(SearchTool(searcher, top_k=2), {"query": "who?"})
    assert outcome.passages == tuple(passages[:2])
    assert searcher.asked == [(["who?"], 2)]


async def test_a_retriever_that_is_down_is_a_failure_with_its_detail(searcher_of, run_one):
    tool = SearchTool(searcher_of(error=RetrieverUnavailable("no answer from X after 3 attempts")))
    outcome = await run_one(tool, {"query": "who?"})
    assert outcome.status == "failed"
    assert outcome.is_infrastructure
    assert outcome.detail == "no answer from X after 3 attempts"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({}, "bad_arguments"),
        ({"query": ""}, "bad_arguments"),
        ({"query": "x" * 2001}, "bad_arguments"),
        ({"query": ["a"]}, "bad_arguments"),
        ({"query": "a", "top_k": 9}, "bad_arguments"),
        ({"query": " \n"}, "tool_error"),
        ({"query": "\ud83d"}, "tool_error"),
    ],
)
async def test_a_query_that_is_none_is_told(searcher_of, run_one, arguments, status):
    searcher = searcher_of()
    outcome = await run_one(SearchTool(searcher), arguments)
    assert outcome.status == status
    assert outcome.text
    assert searcher.asked == []


@pytest.mark.slow
async def test_the_real_client_serves_two_hundred_searches(api):
    hit = '{"result": [[{"document": {"id": "7", "title": "T", "text": "x"}, "score": 1.0}]]}'
    api.script = [(200, hit, {})] * 200
    client = SearchClient(SearchClientConfig(url=api.url))
    box = ToolBox([SearchTool(client)])
    turns = await asyncio.gather(
        *(box.run([ToolCall("search", {"query": f"q{i}"})], {}) for i in range(200))
    )
    assert {turn[0].passages[0].id for turn in turns} == {"7"}
    await box.aclose()
    await client.aclose()


def test_top_k_below_one_is_refused(searcher_of):
    with pytest.raises(ValueError, match="top_k is 0"):
        SearchTool(searcher_of(), top_k=0)
