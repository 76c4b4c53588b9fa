import pytest

from search_r1.client.config import SearchClientConfig
from search_r1.client.failover import Attempts, Endpoints
from search_r1.client.wire import AttemptFailedError
from search_r1.errors import RetrieverBadReply, RetrieverUnavailable

A, B = "http://a:1", "http://b:2"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Servers:
    """Endpoints on a clock that only the test moves, and attempts whose end the test says."""

    def __init__(self, *urls, **settings):
        self.clock = Clock()
        self.config = SearchClientConfig(urls, **settings)
        self.endpoints = Endpoints(self.config, self.clock)
        self.by_url = {endpoint.url: endpoint for endpoint in self.endpoints.all}

    def search(self):
        return Attempts(self.config, self.endpoints)

    def ask(self, search, **problems):
        """Make one attempt; it ends with the problem given for the server's letter, if any."""
        with search.attempt() as endpoint:
            problem = problems.get(endpoint.url[7])
            if problem is not None:
                raise problem
        return endpoint.url

    def fail(self, search, **problems):
        """Make one attempt that fails; gives the pause after it."""
        with pytest.raises(AttemptFailedError) as caught:
            self.ask(search, **problems)
        return search.next_pause_s(caught.value)


def down():
    return AttemptFailedError("refused")


def busy(pause_s):
    return AttemptFailedError("busy", pause_s, shows="alive")


def test_the_least_busy_server_is_chosen():
    servers = Servers(A, B)
    asked = []
    for _ in range(6):  # each is left unfinished
        attempt = servers.search().attempt()
        asked.append((attempt.__enter__().url, attempt))
    assert sorted(url for url, _ in asked) == [A] * 3 + [B] * 3
    for _, attempt in asked:
        attempt.__exit__(None, None, None)
    assert [endpoint.in_flight for endpoint in servers.endpoints.all] == [0, 0]


def test_a_search_tries_every_server_before_it_pauses():
    servers = Servers(A, B, backoff_s=8.0, max_backoff_s=64.0)
    search = servers.search()
    assert servers.fail(search, a=down(), b=down()) == 0.0
    pauses = [servers.fail(search, a=down(), b=down()) for _ in range(3)]
    assert pauses[1] == 0.0
    assert 0.0 < pauses[0] <= 8.0
    assert 0.0 < pauses[2] <= 16.0
    assert [endpoint.failures for endpoint in servers.endpoints.all] == [2, 2]


def test_pauses_double_up_to_the_longest_and_never_overflow():
    servers = Servers(
        A, backoff_s=1.0, max_backoff_s=4.0, max_attempts=9999, breaker_failures=9999,
        deadline_s=1e9,
    )  # fmt: skip
    search = servers.search()
    pauses = [servers.fail(search, a=down()) for _ in range(2000)]
    for at, longest in enumerate([1.0, 2.0, 4.0, 4.0]):
        assert 0.0 <= pauses[at] <= longest
    assert 3.0 < max(pauses) <= 4.0


def test_a_breaker_opens_lets_one_probe_through_and_closes():
    servers = Servers(A, breaker_failures=3, breaker_pause_s=8.0, backoff_s=0.001)
    a = servers.by_url[A]
    for _ in range(3):
        servers.fail(servers.search(), a=down())
    held = servers.search()
    assert 6.0 <= servers.fail(held) <= 10.001
    servers.clock.now += 10.0
    probe = servers.search().attempt()
    probe.__enter__()
    with pytest.raises(AttemptFailedError, match=r"left alone for now, after http://a:1: refused"):
        servers.ask(held)
    assert servers.endpoints.is_usable(a) is False
    probe.__exit__(None, None, None)
    assert servers.endpoints.is_usable(a) is True
    assert servers.ask(held) == A


def test_a_probe_that_fails_opens_the_breaker_again():
    servers = Servers(A, breaker_failures=1, breaker_pause_s=8.0)
    servers.fail(servers.search(), a=down())
    servers.clock.now += 10.0
    assert servers.fail(servers.search(), a=down()) >= 6.0
    assert not servers.endpoints.is_usable(servers.by_url[A])


def test_a_probe_that_finds_the_server_busy_closes_the_breaker():
    servers = Servers(A, breaker_failures=1)
    servers.fail(servers.search(), a=down())
    servers.clock.now += 10.0
    servers.fail(servers.search(), a=busy(3.0))
    assert servers.ask(servers.search()) == A


def test_a_probe_without_time_shows_nothing():
    servers = Servers(A, breaker_failures=1)
    servers.fail(servers.search(), a=down())
    servers.clock.now += 10.0
    servers.fail(servers.search(), a=AttemptFailedError("no reply within 0.1 s", shows="nothing"))
    assert servers.by_url[A].failures == 1


def test_a_probe_that_is_cancelled_leaves_room_for_another():
    servers = Servers(A, breaker_failures=1)
    servers.fail(servers.search(), a=down())
    servers.clock.now += 10.0
    with pytest.raises(KeyboardInterrupt), servers.search().attempt():
        raise KeyboardInterrupt
    assert servers.ask(servers.search()) == A


def test_an_open_breaker_sends_searches_elsewhere():
    servers = Servers(A, B, breaker_failures=2)
    a = servers.by_url[A]
    a.failures, a.rests_until = 2, servers.clock() + 5.0
    assert {servers.ask(servers.search()) for _ in range(20)} == {B}


@pytest.mark.parametrize("ending", [busy(1.0), RetrieverBadReply("status 500")])
def test_a_server_that_answers_is_not_left_alone(ending):
    servers = Servers(A, breaker_failures=2)
    for _ in range(5):
        with pytest.raises(type(ending)):
            servers.ask(servers.search(), a=ending)
    assert servers.endpoints.is_usable(servers.by_url[A])


def test_retry_after_binds_the_search_that_was_told_and_no_other():
    servers = Servers(A, B)
    search = servers.search()
    assert servers.fail(search, a=busy(7.0), b=busy(3.0)) == 0.0  # the other one is free
    assert servers.fail(search, a=busy(7.0), b=busy(3.0)) >= 3.0
    servers.clock.now += 3.0
    assert servers.ask(search) == B
    assert {servers.ask(servers.search()) for _ in range(30)} == {A, B}


def test_the_last_attempt_and_the_deadline_end_a_search():
    servers = Servers(A, max_attempts=2, backoff_s=0.01)
    search = servers.search()
    servers.fail(search, a=down())
    with pytest.raises(RetrieverUnavailable, match=r"a:1/retrieve after 2 attempts in 0\.0 s"):
        servers.fail(search, a=down())
    late = servers.search()
    servers.clock.now += 120.0
    with pytest.raises(RetrieverUnavailable, match=r"after 1 attempts in 120\.0 s .last: refused"):
        servers.fail(late, a=down())


def test_attempts_that_a_breaker_holds_back_do_not_count():
    servers = Servers(A, max_attempts=2, breaker_failures=1, breaker_pause_s=2.0)
    servers.fail(servers.search(), a=down())
    held = servers.search()
    for _ in range(5):
        servers.fail(held)
    assert held.count == 0
    servers.clock.now += 10.0
    assert servers.ask(held) == A


def test_a_search_outlasts_a_restart_of_over_a_minute():
    servers = Servers(A)
    search = servers.search()
    while servers.clock.now < 1000.0 + 100.0:
        try:
            servers.ask(search, a=down())
        except AttemptFailedError as failed:
            servers.clock.now += search.next_pause_s(failed) + 0.001
    servers.clock.now += 2.0  # longer than the breaker's pause
    assert servers.ask(search) == A


def test_several_addresses_are_read_from_a_list_or_one_string():
    listed = SearchClientConfig([f"{A}/", B, A])
    assert listed.urls == SearchClientConfig(f"{A}, {B}/").urls == (A, B)
    assert hash(listed) == hash(SearchClientConfig((f"{A}/", B, A)))
