"""Whoever waits reads EM with its interval and how long it still takes."""

from eval import tally
from eval.tally import Tally
from search_r1.types import StopReason, Trajectory


def ended(em, stop=StopReason.ANSWER):
    return Trajectory("u", "q?", [], [], stop_reason=stop, reward={"em": em})


def test_lines_tell_em_with_its_interval_and_the_time_left(monkeypatch, capsys):
    now = iter(float(second) for second in range(0, 1000, 60))
    monkeypatch.setattr(tally.time, "monotonic", lambda: next(now))
    told = Tally(3)
    told.begin("tiny search greedy")
    told.add(ended(1.0))
    told.add(ended(0.0, StopReason.RETRIEVER_FAILED))
    told.add(ended(0.0))
    told.close()
    name, first, second, last = capsys.readouterr().err.splitlines()
    assert name.strip() == "tiny search greedy"
    assert first.startswith("  1 of 3, EM 100.0% (20.7% to 100.0%), about ")
    assert first.endswith(" min left")
    assert "EM 100.0%" in second, "what infrastructure ended does not count"
    assert last == "  3 of 3, EM 50.0% (9.5% to 90.5%)"
