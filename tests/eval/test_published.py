"""What others report stands beside ours with its source and protocol."""

import pytest

from eval.benchmarks import SEVEN
from eval.published import published_section, read_published


@pytest.mark.parametrize("row", read_published(), ids=lambda row: row.name)
def test_a_row_has_a_source_a_protocol_and_shares_of_known_sets(row):
    assert row.source.startswith("https://")
    assert row.protocol
    assert set(row.em) == {each.name for each in SEVEN}
    assert all(0 < value < 1 for value in row.em.values())


@pytest.mark.parametrize(
    ("name", "average"),
    [
        ("Search-R1, Qwen2.5-7B base, PPO", 0.431),
        ("Search-R1, Qwen2.5-7B instruct, PPO", 0.385),
        ("RAG, Qwen2.5-7B, as Search-R1 reports it", 0.304),
        ("Search-R1, Qwen2.5-3B base, PPO", 0.303),
        ("Search-R1, Qwen2.5-3B instruct, PPO", 0.325),
    ],
)
def test_the_papers_rows_come_to_the_averages_it_gives(name, average):
    (row,) = [each for each in read_published() if each.name == name]
    assert sum(row.em.values()) / len(row.em) == pytest.approx(average, abs=0.0006)


def test_only_sets_of_ours_are_shown_and_never_without_the_warning():
    text = published_section(["all", "triviaqa", "nq", "mine"])
    head, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert head == "| | triviaqa | nq |"
    assert "| 1. Search-R1, Qwen2.5-7B base, PPO | 63.8% | 48.0% |" in rows
    assert "no effect of anything in particular" in text
    assert published_section(["all", "mine"]) == ""
