"""Server, its OpenAPI and the client are held to the one contract."""

import orjson
import pytest

import contract
from retriever.serving import schema
from retriever.serving.limits import Limits
from retriever.serving.wire import QueryHits, read_request, write_answer, write_rows
from retriever.types import Hit, Passage
from search_r1.client.wire import encode_request, read_reply

HIT = Hit(Passage("7", "Dublin", "A capital.", "http://a"), 0.5)


@pytest.mark.parametrize(
    ("described", "agreed"),
    [
        (schema.PassageRow, contract.PassageRow),
        (schema.ScoredRow, contract.ScoredRow),
        (schema.RetrieveResponse, contract.Reply),
    ],
)
def test_openapi_describes_the_fields_agreed(described, agreed) -> None:
    assert described.model_fields.keys() == agreed.__annotations__.keys()


def test_the_server_reads_what_the_client_asks() -> None:
    body = encode_request(["a", "b"], 5)
    assert orjson.loads(body).keys() == contract.Request.__annotations__.keys()
    wanted = read_request(body, Limits())
    assert (wanted.queries, wanted.top_k, wanted.is_scored) == (["a", "b"], 5, True)


def test_a_request_may_leave_out_what_the_contract_lets_it() -> None:
    needed = {name: ["a"] for name in contract.Request.__required_keys__}
    wanted = read_request(orjson.dumps(needed), Limits())
    assert (wanted.queries, wanted.top_k) == (["a"], contract.DEFAULT_TOP_K)


def test_the_client_reads_what_the_server_answers() -> None:
    content = write_answer([QueryHits(1, write_rows([HIT]))], 1, True)
    ((row,),) = orjson.loads(content)["result"]
    assert row.keys() == contract.ScoredRow.__annotations__.keys()
    assert row["document"].keys() == contract.PassageRow.__annotations__.keys()
    ((passage,),) = read_reply("http://h", 200, {}, content, 1)
    assert (passage.id, passage.title, passage.text) == ("7", "Dublin", "A capital.")
