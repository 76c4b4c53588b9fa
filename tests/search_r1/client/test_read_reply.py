"""What a reply says of the server that sent it."""

import pytest

from search_r1.client.wire import AttemptFailedError, read_reply


@pytest.mark.parametrize(
    ("status", "headers", "shows"),
    [
        (503, {"Retry-After": "7"}, "alive"),
        (503, {}, "down"),
        (503, {"Retry-After": "0"}, "down"),
        (502, {"Retry-After": "7"}, "down"),
        (504, {}, "down"),
    ],
)
def test_only_a_503_that_says_when_to_come_back_is_of_a_busy_server(status, headers, shows):
    with pytest.raises(AttemptFailedError) as caught:
        read_reply("http://a:1", status, headers, b"queue full", 1)
    assert caught.value.shows == shows
    assert caught.value.pause_s == float(headers.get("Retry-After", 0))
