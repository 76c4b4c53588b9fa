"""Evaluate runs of ``prove_cpu`` further, keep them in docs/proof/, and make tables and plots.

``python scripts/proof.py keep RUN --seed N`` asks a finished run's models what its own evaluation
left out (plain RAG, one search at most), and keeps every answer; ``python scripts/proof.py report``
reads docs/proof/seed-*/ and writes table.json, table.md and the plots.
"""

import argparse
import gzip
import json
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from proof_figures import AFTER, PASSES, SAMPLES, Figures, read_seeds
from proof_plots import draw_steps, draw_table

from eval.of_run import run_evaluation, served_index
from search_r1.runs.layout import last_model

PROOF = Path(__file__).parents[1] / "docs" / "proof"
_TRAJECTORIES = 30  # kept whole, of the model after RL


def evaluate(run: Path) -> None:
    """Ask base for plain RAG, the cold start some more samples, the trained one with one search."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    launched = json.loads((run / "launch.json").read_text(encoding="utf-8"))
    config["search_r1"]["loop"]["max_calls"] = 1
    config["search_r1"]["run_dir"] = None
    (run / "one_search.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    cold_start = str(Path(launched["cold_start"]["folder"]) / "model")
    samples = ",".join(f"search:{name}" for name in SAMPLES)
    whose = (
        ("config.yaml", "base", launched["base_model"], ["--method", "rag", "--examples"]),
        ("config.yaml", "cold_start", cold_start, ["--method", samples]),
        ("one_search.yaml", "one_search", str(last_model(run)[0]), ["--method", "search"]),
    )
    questions = config["search_r1"]["evaluation"]["questions"]
    with served_index(config, run / "logs" / "proof.log") as url:
        asked = ["--retriever", url, "--out", str(run / "eval"), "--benchmarks", questions]
        for config_name, name, model, how in whose:
            who = ["--config", str(run / config_name), "--name", name, "--model", model]
            run_evaluation(config, [*who, *how, *asked])


def keep(run: Path, seed: int, proof: Path = PROOF) -> Path:
    """Copy what the tables need of a run: figures by step, summary, and every answer.

    Answers lose their logprobs, most of their bytes; ``trajectories.jsonl`` has some whole.
    """
    folder = proof / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.jsonl", "summary.json"):
        shutil.copyfile(run / name, folder / name)
    for name in PASSES:
        answers = run / "eval" / f"{name}.jsonl"
        manifest = json.loads(answers.with_suffix(".json").read_text(encoding="utf-8"))
        manifest["model"] = _place_in_project(manifest["model"])
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        with answers.open(encoding="utf-8") as lines:
            kept = "".join(map(_without_logprobs, lines))
        # No time and no name in the header: the same answers make the same file.
        packed = gzip.compress(kept.encode(), 9, mtime=0)
        (folder / f"{name}.jsonl.gz").write_bytes(packed)
    with (run / "eval" / f"{AFTER}.jsonl").open(encoding="utf-8") as lines:
        whole = "".join(islice(lines, _TRAJECTORIES))
    (folder / "trajectories.jsonl").write_text(whole, encoding="utf-8")
    return folder


def report(proof: Path = PROOF) -> None:
    """Write the tables and plots."""
    figures = Figures(read_seeds(proof))
    found: Mapping[str, Any] = {"table": figures.table, "aims": figures.aims()}
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (proof / "table.json").write_text(text, encoding="utf-8")
    (proof / "table.md").write_text(figures.markdown(), encoding="utf-8")
    draw_steps(figures, proof / "steps.svg")
    draw_table(figures, proof / "table.svg")


def _without_logprobs(line: str) -> str:
    record = json.loads(line)
    del record["response_logprobs"]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _place_in_project(path: str) -> str:
    """Cut what only the machine of the run knows: all before artifacts/ or runs/."""
    for start in ("artifacts/", "runs/"):
        if start in path:
            return start + path.partition(start)[2]
    return Path(path).name


def main() -> None:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("run", type=Path)
    keeping.add_argument("--seed", type=int, required=True)
    commands.add_parser("report")
    parsed = parser.parse_args()
    if parsed.command == "keep":
        evaluate(parsed.run.absolute())  # eval.run is started elsewhere
        keep(parsed.run, parsed.seed)
    report()


if __name__ == "__main__":
    main()
