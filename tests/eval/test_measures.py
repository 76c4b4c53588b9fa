"""Figures of hand-made trajectories, and what two results must share to be compared."""

import json
import re
from dataclasses import asdict, replace

import pytest

from data_prep.steps import DataPrepError
from eval.compare import compare, compare_groups, main
from eval.manifest import Manifest, read_manifest
from eval.measures import (
    Result,
    companions,
    figures,
    gap,
    group_names,
    macro,
    read_results,
    when_to_search,
)
from eval.report import csv_text, latex_rows, make_report, markdown, write_report
from eval.view.places import find_places
from tests.trajectory_records import record

MANIFEST = Manifest(
    model="m",
    model_sha256="1",
    method="search",
    decoding={"name": "greedy", "temperature": 0.0, "seed": 0},
    prompt="user: QUESTION",
    form={},
    limits={"max_calls": 1},
    corpus={"kind": "bm25", "sha256": "c"},
    questions={"sets": {"facts": 4}, "sha256": "q"},
    in_training=0,
    engine="vllm in process",
    code="abc",
)


def result(name, *records, **changes):
    return Result(name, replace(MANIFEST, **changes), list(records), 0)


def save(folder, name, records, **changes):
    manifest = replace(MANIFEST, questions={"sets": {"facts": len(records)}, "sha256": "q"})
    replace(manifest, **changes).write(folder / f"{name}.json")
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder / f"{name}.jsonl"


FREE = [record("k0", 1, 0), record("k1", 1, 1), record("u0", 1, 1, found="Ada"), record("u1", 0, 0)]
NEVER = [record("k0", 1, 0), record("k1", 1, 0), record("u0", 0, 0), record("u1", 0, 0)]
ALWAYS = [record("k0", 1, 1), record("k1", 0, 1), record("u0", 1, 1), record("u1", 1, 1)]


def test_figures_are_means_over_questions_with_intervals_around_them():
    found = figures(FREE)
    assert (found["em"].value, found["em"].number) == (0.75, 4)
    assert found["em"].low < 0.75 < found["em"].high
    assert (found["searched"].value, found["searches"].value) == (0.5, 0.5)
    assert (found["found"].value, found["f1"].value) == (0.25, 0.375)
    assert (found["tokens_written"].value, found["tokens_read"].value) == (2, 3)
    assert found["seconds"].value == 0.75
    assert found["right_per_search"].value == 1.0  # two searches, two of those questions right
    assert found["valid_calls"].value == 1.0
    assert figures([]) == {}


def test_passages_that_stand_in_the_prompt_count_as_one_search():
    read = record("k0", 1, 0, method="rag")
    read["metadata"]["given_text"] = "Doc 1(Title: X) by Ada."
    found = figures([read])
    assert (found["searches"].value, found["found"].value) == (1, 1)


def test_searching_too_much_and_too_little_is_told_from_the_forced_runs():
    found = when_to_search(*(result("m", *each) for each in (FREE, NEVER, ALWAYS)))
    assert (found["over_search"].value, found["over_search"].number) == (0.5, 2)
    assert (found["under_search"].value, found["under_search"].number) == (0.5, 2)
    known = when_to_search(*(result("m", *each) for each in (FREE, NEVER, ALWAYS)), "known")
    assert known.keys() == {"over_search"}


def test_forced_runs_of_another_model_or_corpus_are_no_companions():
    free = result("m.search.greedy", *FREE)
    never = result("m.search_never.greedy", *NEVER)
    always = result("m.search_always.greedy", *ALWAYS)
    assert companions(free, [free, never, always]) == (never, always)
    assert companions(never, [free, never, always]) is None
    other = replace(always, manifest=replace(MANIFEST, corpus={"kind": "flat"}))
    assert companions(free, [free, never, other]) is None


def test_the_gap_is_of_unknown_minus_known():
    searched = [record("k0", 1, 0), record("k1", 1, 1), record("u0", 1, 1), record("u1", 1, 1)]
    found = gap(result("m", *searched))
    assert found.value == 0.5
    assert found.low <= 0.5 <= found.high
    assert gap(result("m", record("k0", 1, 0))) is None


def test_groups_come_whole_first_and_macro_weighs_sources_alike():
    several = result("m", *FREE, record("u2", 0, 0))
    assert group_names([several]) == ["all", "known", "unknown", "facts", "codes"]
    assert macro(several) == pytest.approx((1 + 1 / 3) / 2)


def test_a_comparison_counts_what_each_alone_answers():
    one = compare(result("never", *NEVER), result("free", *FREE))
    assert (one.number, one.first, one.second, one.gained, one.lost) == (4, 0.5, 0.75, 1, 0)
    assert one.p_value == 1.0
    assert "no difference between never and free is shown (+25.0 points" in one.verdict(
        "never", "free"
    )
    many = [record(f"k{i}", 0, 0) for i in range(20)], [record(f"k{i}", 1, 0) for i in range(20)]
    clear = compare(*(result("r", *each) for each in many))
    assert clear.p_value == pytest.approx(2 * 0.5**20)
    assert clear.verdict("a", "b").startswith("b is better than a (+100.0 points, 95 % interval")
    swapped = compare(*(result("r", *each) for each in reversed(many)))
    assert swapped.verdict("a", "b").startswith("a is better than b (-100.0 points")


@pytest.mark.parametrize(
    "change",
    [
        {"questions": {"sets": {}, "sha256": "other"}},
        {"decoding": {"name": "sampled"}},
        {"corpus": {"kind": "flat"}},
    ],
)
def test_results_of_another_protocol_are_not_compared(change):
    (key,) = change
    with pytest.raises(DataPrepError, match=f"cannot be compared: their {key} differ"):
        compare(result("a", *FREE), result("b", *FREE, **change))


def test_the_command_prints_a_table_and_a_sentence(tmp_path, capsys):
    paths = [str(save(tmp_path, name, each)) for name, each in (("a", NEVER), ("b", FREE))]
    assert main(paths) == 0
    out = capsys.readouterr().out
    assert "| known | 2 | 100.0% | 100.0% | +0.0 |" in out
    assert out.strip().splitlines()[-1].startswith("no difference between a and b is shown")
    (tmp_path / "a.json").unlink()
    assert main(paths) == 1
    assert "a.json is no manifest of eval.run" in capsys.readouterr().err
    assert len(compare_groups(result("a", *FREE), result("b", *FREE))) == 5


def test_results_that_are_not_whole_are_not_read(tmp_path):
    with pytest.raises(DataPrepError, match="holds no trajectories"):
        read_results([tmp_path])
    path = save(tmp_path, "m.search.greedy", FREE)
    assert [r.name for r in read_results([tmp_path])] == ["m.search.greedy"]
    whole = path.read_text()
    path.write_text(whole[:-10])
    with pytest.raises(DataPrepError, match=r"cannot be read .* run the same eval.run command"):
        read_results([tmp_path])
    path.write_text("".join(whole.splitlines(keepends=True)[:3]))
    with pytest.raises(DataPrepError, match="holds 3 of 4 questions"):
        read_results([tmp_path])
    save(tmp_path, "m.search.greedy", [record("k0", 0, 0, stop="retriever_failed")])
    with pytest.raises(DataPrepError, match=r"all 1 trajectories .* were lost"):
        read_results([tmp_path])


def test_a_file_is_not_gone_on_with_under_another_protocol(tmp_path):
    path = tmp_path / "m.json"
    MANIFEST.write(path)
    assert read_manifest(path) == MANIFEST
    replace(MANIFEST, code="def", versions={"torch": "9"}).require_same(path)
    with pytest.raises(DataPrepError, match=r'of another limits: .*"max_calls": 1.* and now'):
        replace(MANIFEST, limits={"max_calls": 2}).require_same(path)


HOSTILE = '<script>alert(1)</script> | `x` \u202e </td><img src=x onerror="1">'


@pytest.fixture
def report(tmp_path):
    hostile = record("u1", 0, 0, question=HOSTILE)
    hostile["turns"] = [record("u1", 0, 1)["turns"][0] | {"model_text": HOSTILE}]
    free = [*FREE[:3], hostile]
    for name, each in (("search", free), ("search_never", NEVER), ("search_always", ALWAYS)):
        save(tmp_path, f"m.{name}.greedy", each, method=name)
    return make_report(read_results([tmp_path]))


def test_a_report_holds_every_figure_in_every_form(report, tmp_path):
    text = markdown(report)
    assert "| m.search.greedy | 75.0% (30.1%-95.4%)" in text
    assert "over-search" in text
    assert "is shown (" in text
    assert "wrong without searching: 2 of 4" in text
    assert "What others report" not in text, "nobody reports on these sets"
    rows = csv_text(report).splitlines()
    assert rows[0] == "result,questions,figure,value,low,high,number"
    assert any(row.startswith("m.search.greedy,all,over_search,0.5,") for row in rows)
    assert r"m.search\_never.greedy & 50.0\% &" in latex_rows(report)
    write_report(report, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.md", "report.html", "figures.csv", "rows.tex", "report.json"}
    plain = json.loads((tmp_path / "out" / "report.json").read_text())
    assert plain["m.search.greedy"]["all"]["em"]["value"] == 0.75


def test_each_example_comes_with_what_opens_it_in_the_viewer(report, tmp_path):
    text = markdown(report)
    assert f"`python -m eval.view {tmp_path}` shows them" in text
    assert "`#m.search.greedy/u1`" in text
    assert find_places([tmp_path])[0].name == "m.search.greedy"


def test_what_models_wrote_stays_text_on_the_page(report, tmp_path):
    write_report(report, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=.http", page), "it asks for nothing from elsewhere"
    assert page.count("<svg") == 2


def test_two_results_of_one_name_are_told_apart_by_the_user():
    twice = [result("m.search.greedy", *FREE)] * 2
    with pytest.raises(DataPrepError, match=r"two results are called m\.search\.greedy"):
        make_report(twice)


def test_a_manifest_is_plain_json():
    assert json.loads(json.dumps(asdict(MANIFEST)))["engine"] == "vllm in process"
