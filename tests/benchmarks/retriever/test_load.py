"""The load generator against a real HTTP server, and what it makes of answers."""

import asyncio
import threading
from itertools import count, repeat

import pytest
import uvicorn

from benchmarks.retriever.load import Load, Outcome, ask, drive, parse_head
from tests.waiting import wait_until

FOREVER = 3600.0


class Application:
    """Counts requests; every fifth is answered 503 when ``is_busy``."""

    def __init__(self):
        self.seen = []
        self.is_busy = False
        self.is_closing = False
        self.pause_s = 0.005
        self.busy = self.most_busy = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body, has_more = b"", True
        while has_more:
            event = await receive()
            body, has_more = body + event["body"], event.get("more_body", False)
        self.seen.append(body)
        status = 503 if self.is_busy and len(self.seen) % 5 == 0 else 200
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        await asyncio.sleep(self.pause_s)
        self.busy -= 1
        headers = [(b"content-length", b"4000")]
        if self.is_closing:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 4000})


@pytest.fixture
def served():
    application = Application()
    server = uvicorn.Server(
        uvicorn.Config(application, port=0, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield application, port
    server.should_exit = True
    thread.join()


def test_a_closed_loop_keeps_every_client_busy(served) -> None:
    application, port = served
    requests = (ask([f"query {number}"]) for number in count())
    outcome = drive(Load(port, requests, 0.3, clients=4, warm_up_s=0.05))
    assert set(outcome.statuses) == {200}
    assert outcome.statuses[200] == len(outcome.latencies_s) <= len(application.seen)
    assert len(set(application.seen)) == len(application.seen)  # nothing was sent twice
    assert outcome.latency_ms(50) >= 5
    # Four clients, each at most 200 a second and one more.
    assert 0 < outcome.per_s <= 4 * (200 + 1 / outcome.seconds)


def test_other_statuses_are_counted_and_are_no_throughput(served) -> None:
    application, port = served
    application.is_busy = True
    outcome = drive(Load(port, repeat(ask(["Dublin"])), FOREVER, 2, warm_up_s=0, limit=20))
    assert outcome.statuses[503] in (3, 4)  # one may be under way at the end
    assert outcome.per_s == pytest.approx(outcome.statuses[200] / outcome.seconds)


def test_an_open_loop_sends_at_its_rate_whatever_the_answers_take(served) -> None:
    application, port = served
    application.pause_s = 0.1
    requests = repeat(ask(["Dublin"]))
    outcome = drive(Load(port, requests, FOREVER, per_s=100, warm_up_s=0, limit=30))
    assert application.most_busy > 1  # it does not wait for answers
    assert len(application.seen) <= 100 * outcome.seconds + 1


def test_a_limit_ends_the_run_early(served) -> None:
    _, port = served
    outcome = drive(Load(port, repeat(ask(["Dublin"])), FOREVER, 2, warm_up_s=0, limit=10))
    assert sum(outcome.statuses.values()) == 10


@pytest.mark.parametrize("rate", [{"clients": 1}, {"per_s": 100}], ids=str)
def test_a_run_goes_on_until_something_was_answered(served, rate) -> None:
    application, port = served
    application.pause_s = 0.3
    outcome = drive(Load(port, repeat(ask(["Dublin"])), 0.01, warm_up_s=0, **rate))
    assert outcome.statuses[200] >= 1
    assert outcome.seconds > 0.2
    assert outcome.latency_ms(99) >= 200


def test_a_run_that_is_to_be_refused_ends_in_time(served) -> None:
    application, port = served
    application.pause_s = 0.3
    load = Load(port, repeat(ask(["Dublin"])), 0.01, clients=1, warm_up_s=0, least=0)
    assert drive(load).statuses == {}


def test_a_server_that_closes_connections_is_connected_to_again(served) -> None:
    application, port = served
    application.is_closing = True
    outcome = drive(Load(port, repeat(ask(["Dublin"])), FOREVER, 2, warm_up_s=0, limit=10))
    assert outcome.statuses == {200: 10}


def test_a_server_that_is_not_there_is_counted_as_lost_connections() -> None:
    outcome = drive(Load(1, repeat(ask(["Dublin"])), 0.05, clients=2, warm_up_s=-0.01))
    assert outcome.statuses == {0: 2}
    assert outcome.per_s == 0
    assert outcome.latency_ms(50) != outcome.latency_ms(50)  # nan


def test_percentiles_are_of_good_answers() -> None:
    outcome = Outcome(2.0, latencies_s=[0.001 * n for n in range(1, 101)])
    outcome.statuses[200] = 100
    assert outcome.per_s == 50
    assert outcome.latency_ms(50) == pytest.approx(50.5)
    assert outcome.latency_ms(99) == pytest.approx(99.01)


def test_a_head_is_read_whatever_its_case() -> None:
    assert parse_head(b"HTTP/1.1 503 Busy\r\nCONTENT-Length: 12\r\nX: y") == (503, 12, False)
    closing = b"HTTP/1.1 413 Long\r\ncontent-length: 0\r\nConnection: close"
    assert parse_head(closing) == (413, 0, True)
    with pytest.raises(ValueError, match="no Content-Length"):
        parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked")
