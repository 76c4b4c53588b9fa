"""A report shows how the runs went that gave its models."""

import json

import pytest

from data_prep.steps import DataPrepError
from eval.plots import plot_training
from eval.report import main
from eval.training import read_training, training_section


@pytest.fixture
def run_dir(tmp_path):
    """A run of five steps whose last line of metrics was torn by a kill."""
    folder = tmp_path / "quickstart" / "2026-01-01"
    folder.mkdir(parents=True)
    lines = [
        {"step": step, "timing_s/step": 1.0, "reward/total": step / 10, "reward/em": 0.5}
        for step in range(1, 6)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 6, "timing')
    return folder


def test_curves_begin_and_end_in_a_table(run_dir):
    (training,) = read_training([run_dir])
    assert training.points("reward/total") == [(n, n / 10) for n in range(1, 6)]
    text = training_section([training])
    assert "| quickstart/2026-01-01 | 5 | 0.20 to 0.40 | 0.50 to 0.50 | - | - |" in text
    assert training_section([]) == ""


def test_several_runs_are_drawn_in_one_picture(run_dir):
    drawn = plot_training(read_training([run_dir, run_dir]))
    assert drawn.startswith("<svg")
    assert drawn.count("quickstart/2026-01-01") == 2


def test_a_folder_without_metrics_is_told(tmp_path, run_dir):
    with pytest.raises(DataPrepError, match=r"--training .*metrics\.jsonl does not"):
        read_training([tmp_path])
    (run_dir / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DataPrepError, match="no training step is in its metrics"):
        read_training([run_dir])


def test_the_page_has_the_curves(run, pass_of, run_dir, tmp_path, monkeypatch):
    one = pass_of()
    run(one)
    manifest = {"model": "m", "model_sha256": None, "method": "search", "prompt": "", "code": None}
    manifest |= {"decoding": {}, "form": {}, "limits": {}, "corpus": {}, "engine": ""}
    manifest |= {"questions": {"sets": {"facts": 5}}, "in_training": None}
    one.manifest_path.write_text(json.dumps(manifest))
    out = tmp_path / "report"
    assert main([str(one.path), "--out", str(out), "--training", str(run_dir)]) == 0
    assert "## Training" in (out / "report.md").read_text()
    assert (out / "report.html").read_text().count("<svg") == 3
