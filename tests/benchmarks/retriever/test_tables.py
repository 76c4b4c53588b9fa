"""Figures to tables, tables into the page, and that the committed page shows committed figures."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.retriever.__main__ import PARTS, main, write_part
from benchmarks.retriever.load import Outcome
from benchmarks.retriever.materials import BenchError, Materials, QueryStream
from benchmarks.retriever.render import all_tables, fill_page
from benchmarks.retriever.render import main as render
from benchmarks.retriever.sizing_table import make_sizing_table
from benchmarks.retriever.tables import make_tables
from benchmarks.retriever.versus import NOT_RUN, Traffic, summarize

ROOT = Path(__file__).resolve().parents[3]
FIGURES = ROOT / "docs" / "benchmarks" / "retriever.json"
RUN = {
    "command": "python -m benchmarks.retriever versus",
    "date": "2026-01-02",
    "machine": {"cores": 2, "arch": "x86_64", "memory_gb": 25, "cpu": "a CPU"},
    "load_before": 0.25,
    "took_s": 60.0,
}
OURS = {"queries_per_s": 1234.5, "p50_ms": 10.2, "p99_ms": 20.4, "not_answered": 0}
THEIRS = {"queries_per_s": 100.0, "p50_ms": 500.0, "p99_ms": 2040.0, "not_answered": 0}


def versus(**more):
    row = {"traffic": "64 clients, 1 query a request", "ours": OURS}
    return RUN | {"passages": 10032, "peer": NOT_RUN, "rows": [row | more]}


def test_a_part_without_the_peer_has_dashes_and_says_why() -> None:
    table = make_tables({"versus": versus()})["versus"]
    assert "| 64 clients, 1 query a request | 1,234 | 10 / 20 | - | - | - | - |" in table
    assert "Peer: not run: needs --peer" in table
    assert "`python -m benchmarks.retriever versus`, 2026-01-02, 2 cores (a CPU)" in table


def test_a_part_with_the_peer_shows_the_ratios() -> None:
    half = {"traffic": "4 clients", "queries_per_s": 12.0}
    figures = versus(peer=THEIRS, queries_per_s_ratio=12.345, p99_ms_ratio=0.01)
    table = make_tables({"versus": figures | {"same_top_3": 0.995, "peer_in_float16": half}})[
        "versus"
    ]
    assert "| 1,234 | 10 / 20 | 100 | 500 / 2,040 | 12.3 | 0.01 |" in table
    assert "Same three passages for 99.5% of queries." in table


def test_rounds_become_medians_and_requests_become_queries() -> None:
    rounds = [Outcome(1.0, latencies_s=[second]) for second in (0.1, 0.2, 0.6)]
    for count, outcome in zip((10, 20, 60), rounds, strict=True):
        outcome.statuses[200] = count
    rounds[0].statuses[503] = 2
    figures = summarize(rounds, queries=64)
    assert figures["queries_per_s"] == 20 * 64
    assert figures["p50_ms"] == pytest.approx(200)
    assert figures["not_answered"] == 2


def test_a_group_asks_the_same_five_times_and_then_never_again() -> None:
    requests = Traffic(64, repeats=5).requests(QueryStream(["a", "b"]))
    sent = [next(requests) for _ in range(20)]
    assert [len(set(sent[at : at + 5])) for at in (0, 5, 10, 15)] == [1, 1, 1, 1]
    assert len(set(sent)) == 4
    assert b'"a 1"' in sent[10]  # the second pass adds a number


def test_a_page_gets_the_tables_between_its_marks() -> None:
    page = "x\n<!-- bench: soak -->\nold\n<!-- end of bench -->\ny\n"
    filled = fill_page(page, {"soak": "| new |"})
    assert filled == "x\n<!-- bench: soak -->\n| new |\n<!-- end of bench -->\ny\n"
    assert fill_page(filled, {"soak": "| new |"}) == filled
    assert "run `python -m benchmarks.retriever soak`" in fill_page(page, {})


def test_parts_are_kept_when_another_is_measured(tmp_path) -> None:
    file = tmp_path / "figures.json"
    write_part(file, "soak", {"requests": 1})
    write_part(file, "versus", {"rows": []})
    write_part(file, "soak", {"requests": 2})
    report = json.loads(file.read_text())
    assert list(report) == ["versus", "soak"]
    assert report["soak"] == {"requests": 2}


def test_render_writes_the_page(tmp_path) -> None:
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    figures.write_text(json.dumps({"versus": versus()}))
    page.write_text("<!-- bench: versus -->\n<!-- end of bench -->\n")
    assert render(["--figures", str(figures), "--page", str(page)]) == 0
    assert "1,234" in page.read_text()


def test_missing_materials_are_named(tmp_path, capsys) -> None:
    assert main(["soak", "--artifacts", str(tmp_path)]) == 2
    assert "run python -m data_prep.quickstart" in capsys.readouterr().err


def test_a_peer_that_is_no_checkout_is_refused(tmp_path) -> None:
    materials = Materials(tmp_path, tmp_path / "bench", peer=tmp_path)
    for path in (materials.encoder, materials.quickstart_corpus, *materials.question_files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(BenchError, match="give a checkout of Search-R1"):
        materials.check()


def test_extracts_are_put_together_from_their_passages(tmp_path) -> None:
    materials = Materials(tmp_path, tmp_path / "bench")
    materials.quickstart_corpus.parent.mkdir(parents=True)
    rows = [("00000-0", "One."), ("00000-1", "Two."), ("00003-0", "Three.")]
    lines = [json.dumps({"id": i, "title": "T", "text": text}) for i, text in rows]
    materials.quickstart_corpus.write_text("\n".join(lines) + "\n")
    made = [json.loads(line) for line in materials.extracts().read_text().splitlines()]
    assert made == [
        {"id": "00000", "title": "T", "text": "One. Two."},
        {"id": "00003", "title": "T", "text": "Three."},
    ]


def test_the_page_shows_the_committed_figures() -> None:
    page = (ROOT / "docs" / "retriever-benchmarks.md").read_text(encoding="utf-8")
    report = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    assert fill_page(page, all_tables(report)) == page, "run python -m benchmarks.retriever.render"
    marks = re.findall(r"<!-- bench: (\w+) -->", page)
    assert sorted(marks) == sorted([*PARTS, "sizing"])


def test_wiki_18_has_its_known_size() -> None:
    table = make_sizing_table()
    assert "| `flat --precision fp32` | 64.6 | 64.6 | 64.6 | 8.1 |" in table
    assert "| `flat --precision sq8` | 16.1 | 16.1 | 32.3 | 4.0 |" in table  # float16 on GPUs
    assert re.search(r"\| `hnsw` \| \d+\.\d \| \d+\.\d \| - \| - \|", table)
    assert "Computed, not measured" in table
