"""What a client counts, how it waits for a server, and what it holds against one."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest

from search_r1.client import SearchClient, SearchClientConfig, SearchCounters
from search_r1.client.wire import AttemptFailedError
from search_r1.errors import RetrieverUnavailable
from search_r1.types import Passage

HITS = [[Passage("7", "T", "x", 0.5)]]


@pytest.fixture
async def client_of():
    """Make async clients that are closed when the test ends."""
    made = []

    def make(*urls, **settings):
        made.append(SearchClient(SearchClientConfig(urls, **settings)))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


class Clock:
    """A clock that moves when somebody sleeps; keeps the pauses."""

    def __init__(self):
        self.now, self.pauses = 50.0, []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("search_r1.client.client.time", made)
    # The client's alone: servers of other tests may sleep in threads of this process.
    patient = SimpleNamespace(**vars(asyncio) | {"sleep": made.sleep})
    monkeypatch.setattr("search_r1.client.client.asyncio", patient)
    return made


def never_ready(client, clock, takes_s=0.0):
    """Have every server say that it loads; gives the list of what they are asked."""
    asked = []

    async def get(url, timeout):
        asked.append((url, timeout))
        clock.now += takes_s
        return httpx.Response(503, content=b"loading")

    client._http.get = get
    return asked


async def test_a_search_is_sent_as_json_to_retrieve(flaky, client_of):
    assert await client_of(flaky.url).search(["a"], 1) == HITS
    assert flaky.headers[0]["Content-Type"] == "application/json"


async def test_seconds_are_summed_and_the_slowest_is_kept(flaky, client_of, monkeypatch):
    ticks = iter([10.0, 12.0, 20.0, 23.0, 30.0, 31.0])
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr("search_r1.client.client.time", clock)
    client = client_of(flaky.url, max_attempts=1)
    flaky.script = [None, (503, "", {}), None]
    await client.search(["a"], 1)
    with pytest.raises(RetrieverUnavailable):
        await client.search(["b"], 1)
    await client.search(["c"], 1)
    assert client.counters == SearchCounters(
        searches=3, retries=0, failures=1, latency_sum_s=6.0, latency_max_s=3.0
    )


async def test_a_search_for_nothing_is_none(flaky, client_of):
    client = client_of(flaky.url)
    assert await client.search([], 1) == []
    assert client.counters == SearchCounters(0, 0, 0, 0.0, 0.0)


async def test_a_cancelled_search_ended_and_did_not_fail(flaky, client_of):
    flaky.usual = 100.0
    client = client_of(flaky.url)
    searching = asyncio.create_task(client.search(["a"], 1))
    while not flaky.bodies:
        await asyncio.sleep(0.01)
    searching.cancel()
    await asyncio.wait([searching])
    assert (client.counters.searches, client.counters.failures) == (1, 0)


async def test_retries_are_counted_over_searches(flaky, client_of):
    client = client_of(flaky.url, backoff_s=0.001)
    for answers in ([(503, "", {})], [(503, "", {})] * 2):
        flaky.script = answers
        await client.search(["a"], 1)
    assert client.counters.retries == 3


@pytest.mark.parametrize("last", [(200, "ready"), (404, "no such page")])
async def test_a_server_is_ready_when_it_says_so_or_knows_no_such_question(flaky, client_of, last):
    flaky.readiness = [(503, "loading"), (500, "broken"), last, (503, "never asked")]
    await client_of(flaky.url).wait_ready(100.0)
    assert flaky.readiness == [(503, "never asked")]


async def test_waiting_in_vain_says_for_whom_how_long_and_why(client_of, clock):
    client = client_of("http://a:1", "http://b:2")
    never_ready(client, clock)
    expected = (
        r"server at http://a:1, http://b:2 was not ready within 1\.5 s "
        r"\(last: status 503: 'loading'; status 503: 'loading'\)"
    )
    with pytest.raises(RetrieverUnavailable, match=expected):
        await client.wait_ready(1.5)
    with pytest.raises(RetrieverUnavailable, match=r"within 0 s \(last: not asked\)"):
        await client.wait_ready(0.0)


async def test_a_server_is_asked_less_and_less_often_and_at_least_each_second(client_of, clock):
    client = client_of("http://a:1")
    asked = never_ready(client, clock)
    with pytest.raises(RetrieverUnavailable):
        await client.wait_ready(8.0)
    first = [0.05, 0.075, 0.1125, 0.16875, 0.253125, 0.3796875, 0.56953125, 0.854296875]
    # 2.462890625 s so far, then a second each, then what is left of the eight.
    assert clock.pauses == pytest.approx([*first, 1.0, 1.0, 1.0, 1.0, 1.0, 0.537109375])
    assert {url for url, _ in asked} == {"http://a:1/ready"}
    limits = [limit for _, limit in asked]
    assert limits[:9] == [5.0] * 9
    assert limits[9:] == pytest.approx([4.537109375 - more for more in (0, 1, 2, 3, 4)])


async def test_an_answer_that_takes_all_the_time_is_the_last(client_of, clock):
    client = client_of("http://a:1")
    asked = never_ready(client, clock, takes_s=10.0)
    with pytest.raises(RetrieverUnavailable):
        await client.wait_ready(3.0)
    assert (len(asked), clock.pauses) == (1, [0.0])


@pytest.mark.parametrize(
    ("error", "told"),
    [(httpx.ReadError(""), r"\(last: ReadError\)"), (httpx.ConnectError("no"), "ConnectError: no")],
)
async def test_an_error_is_told_by_its_name_and_its_words_if_it_has_any(
    client_of, clock, error, told
):
    client = client_of("http://a:1")

    async def get(url, timeout):
        raise error

    client._http.get = get
    with pytest.raises(RetrieverUnavailable, match=told):
        await client.wait_ready(0.01)


async def test_a_connection_that_breaks_is_told_in_the_last_words(flaky, client_of):
    flaky.usual = "drop"
    with pytest.raises(RetrieverUnavailable, match="last: RemoteProtocolError: Server disconn"):
        await client_of(flaky.url, max_attempts=1).search(["a"], 1)


async def test_a_search_that_finds_no_free_connection_says_so(flaky, client_of):
    client = client_of(flaky.url, max_connections=1)
    async with client._turn(60.0):
        with pytest.raises(AttemptFailedError, match=r"^no free connection within 0\.1 s$"):
            async with client._turn(0.1):
                pass
    assert await client.search(["a"], 1) == HITS


@pytest.mark.parametrize(("timeout_s", "deadline_s"), [(0.2, 0.3), (60.0, 0.2)])
async def test_only_a_server_that_had_its_full_time_is_left_alone(
    flaky, client_of, timeout_s, deadline_s
):
    flaky.script = [60.0]
    settings = {"breaker_failures": 1, "breaker_pause_s": 900.0, "max_attempts": 1}
    client = client_of(flaky.url, timeout_s=timeout_s, deadline_s=deadline_s, **settings)
    with pytest.raises(RetrieverUnavailable, match=r"no reply within 0\.2 s"):
        await client.search(["a"], 1)
    (endpoint,) = client._endpoints.all
    assert client._endpoints.is_usable(endpoint) is (timeout_s > deadline_s)


async def test_closing_closes_the_connections(flaky):
    client = SearchClient(SearchClientConfig(flaky.url))
    await client.search(["a"], 1)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.search(["b"], 1)
