"""The proof's tables and plots are those of the kept runs."""

import json
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PROOF = REPO / "docs" / "proof"
sys.path.insert(0, str(REPO / "scripts"))
import ablations  # noqa: E402
import proof  # noqa: E402
from proof_figures import AFTER, Figures, read_seeds  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seeds():
    return read_seeds(PROOF)


def test_tables_are_those_of_the_kept_answers(seeds):
    figures = Figures(seeds)
    kept = json.loads((PROOF / "table.json").read_text(encoding="utf-8"))
    made = {"table": figures.table, "aims": figures.aims()}
    assert json.loads(json.dumps(made)) == kept
    assert (PROOF / "table.md").read_text(encoding="utf-8") == figures.markdown()


def test_plots_are_drawn_again_alike(tmp_path):
    for folder in PROOF.glob("seed-*"):
        (tmp_path / folder.name).symlink_to(folder)
    proof.report(tmp_path)
    for name in ("steps.svg", "table.svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert drawn == (PROOF / name).read_text(encoding="utf-8")


def test_every_seed_answered_the_same_questions_and_none_was_lost(seeds):
    asked = {name: sorted(r["uid"] for r in result.records) for seed in seeds
             for name, result in seed.results.items()}  # fmt: skip
    assert len({tuple(uids) for uids in asked.values()}) == 1
    assert all(result.num_lost == 0 for seed in seeds for result in seed.results.values())


def test_a_row_by_hand_counts_what_the_table_says(seeds):
    answers = [r for seed in seeds for r in seed.results[AFTER].records]
    known = [r["reward"]["em"] for r in answers if r["metadata"]["knowledge"] == "known"]
    kept = json.loads((PROOF / "table.json").read_text(encoding="utf-8"))["table"]
    assert kept[AFTER]["em_known"]["mean"] == pytest.approx(sum(known) / len(known))


def test_the_ablations_are_those_of_the_kept_runs(tmp_path):
    page = (REPO / "docs" / "proof.md").read_text(encoding="utf-8")
    runs = ablations.read_runs()
    assert ablations.fill_page(page, {"ablations": ablations.markdown(runs)}) == page
    ablations.draw(runs, tmp_path / "ablations.svg")
    drawn = (tmp_path / "ablations.svg").read_text(encoding="utf-8")
    assert drawn == (PROOF / "ablations" / "ablations.svg").read_text(encoding="utf-8")
