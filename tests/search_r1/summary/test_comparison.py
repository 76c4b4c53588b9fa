"""What a run's evaluation shows, on made-up outcomes; figures worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from search_r1.summary import summarize
from search_r1.summary.comparison import compare_models, group_name, read_outcomes
from search_r1.summary.comparison_table import comparison_lines
from search_r1.summary.plots import plot_curves
from search_r1.summary.readings import choose_readings

AFTER, BEFORE = "trained.search.greedy", "cold_start.search.greedy"
BEFORE_SAMPLED = "cold_start.search.sampled"


def test_models_come_in_the_tables_order_their_questions_sorted(compared_run: Path) -> None:
    outcomes = read_outcomes(compared_run)
    assert [one.name for one in outcomes] == [
        "base.search.greedy",
        BEFORE,
        BEFORE_SAMPLED,
        AFTER,
        "trained.search_never.greedy",
    ]
    assert [r["uid"] for r in outcomes[0].records] == sorted(r["uid"] for r in outcomes[0].records)
    assert {group: len(outcomes[0].of(group)) for group in ("known", "unknown", "real")} == {
        "known": 4,
        "unknown": 4,
        "real": 2,
    }
    assert len(outcomes[0].of("known_and_unknown")) == 8


def test_em_and_searching_by_what_was_known(compared_run: Path) -> None:
    compared = compare_models(compared_run)
    assert compared is not None
    row = compared["rows"][AFTER]
    known, unknown, both, real = (
        row[group] for group in ("known", "unknown", "known_and_unknown", "real")
    )
    assert (known["questions"], known["em"], known["searched"]) == (4, 0.75, 0.25)
    assert (unknown["em"], unknown["searched"], unknown["searches_per_question"]) == (1, 1, 1.25)
    assert (both["questions"], both["em"], both["searched"]) == (8, 0.875, 0.625)
    assert both["searches_per_question"] == 0.75  # (1 + 5) of 8
    assert (real["questions"], real["em"], real["searched"]) == (2, 0.5, 1.0)
    # Wilson, 4 of 4: (1 + .4802) / 1.9604 -+ 1.96 * .2450 / 1.9604.
    assert unknown["em_ci95"] == pytest.approx((0.5101, 1.0), abs=1e-4)
    # 2 of 4: .5 -+ 1.96 * sqrt(.0625 + .0600) / 1.9604.
    assert compared["rows"][BEFORE]["known"]["searched_ci95"] == pytest.approx(
        (0.1500, 0.8500), abs=1e-4
    )


def test_the_gap_is_the_difference_of_the_search_rates(compared_run: Path) -> None:
    compared = compare_models(compared_run)
    assert compared is not None
    gaps = {name: row["gap"] for name, row in compared["rows"].items()}
    assert gaps[BEFORE]["unknown_minus_known"] == 0.0  # half of either
    assert gaps[AFTER]["unknown_minus_known"] == 0.75  # all against one of four
    low, high = gaps[AFTER]["ci95"]
    assert 0.25 <= low < 0.75 < high <= 1.0
    assert gaps["base.search.greedy"]["ci95"] == [0.0, 0.0], "all searched all"
    assert compare_models(compared_run) == compared, "resampling has a seed"


def test_changes_are_paired_over_the_questions(compared_run: Path, write_evaluated: Any) -> None:
    compared = compare_models(compared_run)
    assert compared is not None
    change = compared["changes"][f"{AFTER} - {BEFORE}"]
    # 7 of 8 against 3 of 8: four went up, none down.
    assert (change["known_and_unknown"]["questions"], change["known_and_unknown"]["em"]) == (8, 0.5)
    assert change["known"]["em"] == 0.25
    assert change["real"]["em"] == 0.5
    low, high = change["known_and_unknown"]["em_ci95"]
    assert 0.0 < low < 0.5 < high < 1.0
    never = compared["changes"][f"{AFTER} - trained.search_never.greedy"]
    assert (never["known"]["em"], never["known"]["em_ci95"]) == (0.0, [0.0, 0.0])
    assert set(compared["changes"]) == {
        f"{AFTER} - {name}"
        for name in ("base.search.greedy", BEFORE, BEFORE_SAMPLED, "trained.search_never.greedy")
    }
    write_evaluated(compared_run, BEFORE, k0=(1, 0), u9=(1, 0))
    again = compare_models(compared_run)
    assert again is not None
    shared = again["changes"][f"{AFTER} - {BEFORE}"]
    assert (shared["known"]["questions"], shared.get("unknown")) == (1, None)


def test_what_infrastructure_ended_is_left_out_and_counted(
    compared_run: Path, outcome_of: Any
) -> None:
    path = compared_run / "eval" / f"{AFTER}.jsonl"
    lost = outcome_of("u4", "unknown", 0.0, 0, stop_reason="retriever_failed")
    path.write_text(path.read_text() + json.dumps(lost) + "\n")
    compared = compare_models(compared_run)
    assert compared is not None
    assert compared["rows"][AFTER]["lost"] == 1
    assert compared["rows"][AFTER]["unknown"]["questions"] == 4
    lines = list(comparison_lines(compared, []))
    (at,) = [number for number, line in enumerate(lines) if "lost to the retriever" in line]
    assert lines[at] == "  1 more were lost to the retriever or the engine"
    assert lines[at - 1].startswith("after reinforcement learning")


def test_without_an_evaluation_there_is_no_comparison(fabricated_run: Path) -> None:
    assert compare_models(fabricated_run) is None
    assert choose_readings(read_outcomes(fabricated_run)) == []


def test_the_table_says_it_in_lines(compared_run: Path) -> None:
    compared = compare_models(compared_run)
    assert compared is not None
    lines = list(comparison_lines(compared, []))
    heads = " ".join(lines[1].split())
    assert heads == "known (4) unknown (4) source of r (2)"
    cells = {line[:31].strip(): line[31:].split() for line in lines[2:7]}
    assert cells == {
        "before, with its own prompt": ["25%,", "100%", "0%,", "100%", "0%,", "100%"],
        "after the cold start": ["50%,", "50%", "25%,", "50%", "0%,", "100%"],
        "the same, sampled at T = 1": ["50%,", "50%", "0%,", "50%", "0%,", "50%"],
        "after reinforcement learning": ["75%,", "25%", "100%,", "100%", "50%,", "100%"],
        "made to answer at once": ["75%,", "0%", "0%,", "0%", "0%,", "0%"],
    }
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "after the cold start +0 points 95 % interval -" in text
    assert "after reinforcement learning +75 points 95 % interval +" in text
    assert "against the cold start +50.0 points 95 % interval +" in text
    assert "the same, sampled at T = 1 +62.5 points 95 % interval +" in text
    assert "worth reading" not in text
    assert max(map(len, lines)) <= 100


def test_the_table_does_without_groups_that_were_not_asked(
    fabricated_run: Path, write_evaluated: Any
) -> None:
    write_evaluated(fabricated_run, AFTER, r0=(1, 1), r1=(0, 0))
    compared = compare_models(fabricated_run)
    assert compared is not None
    assert "gap" not in compared["rows"][AFTER]
    lines = list(comparison_lines(compared, []))
    assert lines[1].split() == ["source", "of", "r", "(2)"]
    assert lines[2].split()[-2:] == ["50%,", "50%"]
    assert len(lines) == 3, "no heading without rows below it"


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["nq", "triviaqa"], "NQ, TriviaQA"),
        (["mine"], "mine"),
        (["mine", "yours", "theirs"], "not labelled"),
    ],
)
def test_questions_nobody_sampled_are_called_by_their_source(sources: list[str], name: str) -> None:
    rows = {AFTER: {"real": {"sources": sources}}, BEFORE: {}}
    assert group_name("real", rows) == name
    assert group_name("known", rows) == "known"


@pytest.mark.slow
def test_a_summary_holds_the_comparison_and_five_readings(
    compared_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = json.loads((compared_run / "launch.json").read_text())
    notes["cold_start"] = {"folder": "artifacts/cold_start/1", "seconds": 100.0}
    notes["parts"][0]["stages_s"] |= {"cold_start": 120.0, "evaluate": 90.0}
    (compared_run / "launch.json").write_text(json.dumps(notes))
    assert summarize.main([str(compared_run)]) == 0
    written = json.loads((compared_run / "summary.json").read_text())
    assert written["evaluation"]["rows"][AFTER]["known"]["em"] == 0.75
    assert len(written["readings"]) == 5
    assert written["compute_dtype"] == "fp32"
    assert written["processor"]
    assert written["cold_start"]["seconds"] == 100.0
    assert written["stages_s"]["launch/cold_start"] == 120.0
    assert written["stages_s"]["launch/evaluate"] == 90.0
    assert (written["em_before"], written["em_after"]) == (None, None)
    table = capsys.readouterr().out
    assert "held-out questions: EM, and share of them searched" in table
    assert "five worth reading" in table
    assert (compared_run / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_curves_are_drawn_of_whatever_was_evaluated(
    compared_run: Path, write_evaluated: Any, tmp_path: Path
) -> None:
    target = tmp_path / "curves.png"
    write_evaluated(compared_run, "trained.search_never.greedy", k0=(1, 0))
    plot_curves(compared_run, target)
    whole = target.read_bytes()
    for path in (compared_run / "eval").iterdir():
        if path.name != f"{AFTER}.jsonl":
            path.unlink()
    plot_curves(compared_run, target)
    assert target.read_bytes() not in (whole, b"")
