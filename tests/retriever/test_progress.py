"""Progress in a log file: plain lines, few of them."""

import pytest

from retriever.progress import Lines, show_progress


def test_a_line_comes_every_ten_seconds_at_most(caplog):
    caplog.set_level("INFO", logger="retriever")
    now = [100.0]
    with Lines("indexing", 500, "passages", clock=lambda: now[0]) as lines:
        for _ in range(25):
            now[0] += 1.0
            lines.update(20)
    assert caplog.messages == ["indexing: 200 of 500 passages", "indexing: 400 of 500 passages"]


def test_what_begins_again_counts_from_the_beginning(caplog):
    caplog.set_level("INFO", logger="retriever")
    now = [0.0]
    lines = Lines("indexing", 9, "passages", clock=lambda: now[0])
    lines.update(9)
    lines.reset()
    now[0] = 10.0
    lines.update(1)
    assert caplog.messages == ["indexing: 1 of 9 passages"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_only_a_terminal_gets_a_bar(monkeypatch, capsys, is_terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with show_progress("reading", 10, "bytes") as progress:
        progress.update(10)
    assert ("\r" in capsys.readouterr().err) == is_terminal
