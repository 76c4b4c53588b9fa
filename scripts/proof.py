"""Evaluate runs of ``prove_cpu`` further, keep them in docs/proof/, and make tables and plots.

``python scripts/proof.py keep RUN --seed N`` asks a finished run's models what its own evaluation
left out (plain RAG, one search at most), and keeps every answer; ``python scripts/proof.py report``
reads docs/proof/seed-*/ and writes table.json, table.md and the plots.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from proof_figures import PASSES, SAMPLES, Figures, read_seeds
from proof_plots import draw_steps, draw_table

from search_r1.launch.runs import last_model
from search_r1.launch.services import Service, free_port, retriever_command

PROOF = Path(__file__).parents[1] / "docs" / "proof"
_TRAJECTORIES = 30  # kept whole, of the model after RL


def evaluate(run: Path) -> None:
    """Ask base for plain RAG, the cold start some more samples, the trained one with one search."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    launched = json.loads((run / "launch.json").read_text(encoding="utf-8"))
    config["search_r1"]["loop"]["max_searches"] = 1
    config["search_r1"]["run_dir"] = None
    (run / "one_search.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = retriever_command(config["search_r1"]["retriever"]["index"], port)
    asked = ["--retriever", f"http://127.0.0.1:{port}", "--out", str(run / "eval")]
    asked += ["--benchmarks", config["search_r1"]["evaluation"]["questions"]]
    cold_start = str(Path(launched["cold_start"]["folder"]) / "model")
    samples = ",".join(f"search:{name}" for name in SAMPLES)
    whose = (
        ("config.yaml", "base", launched["base_model"], ["--method", "rag", "--examples"]),
        ("config.yaml", "cold_start", cold_start, ["--method", samples]),
        ("one_search.yaml", "one_search", str(last_model(run)[0]), ["--method", "search"]),
    )
    with Service("retriever", command, run / "logs" / "proof.log", os.environ, Path.cwd()):
        for config_name, name, model, how in whose:
            module = [sys.executable, "-m", "eval.run", "--config", str(run / config_name)]
            who = ["--name", name, "--model", model]
            subprocess.run([*module, *who, *how, *asked], check=True)


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
        lines = answers.read_text(encoding="utf-8").splitlines()
        kept = "".join(_without_logprobs(line) for line in lines)
        # No time and no name in the header: the same answers make the same file.
        packed = gzip.compress(kept.encode(), 9, mtime=0)
        (folder / f"{name}.jsonl.gz").write_bytes(packed)
    after = (run / "eval" / "trained.search.greedy.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "trajectories.jsonl").write_text("\n".join(after[:_TRAJECTORIES]) + "\n", "utf-8")
    return folder


def report(proof: Path = PROOF) -> None:
    """Write the tables and plots."""
    figures = Figures(read_seeds(proof))
    found: Mapping[str, Any] = {"table": figures.table(), "aims": figures.aims()}
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
        evaluate(parsed.run)
        keep(parsed.run, parsed.seed)
    report()


if __name__ == "__main__":
    main()
