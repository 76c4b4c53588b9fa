"""Every index kind on the quickstart's corpus: recall, speed and memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.retriever.derive import derive_index
from benchmarks.retriever.direct import direct_process
from benchmarks.retriever.materials import Materials, is_current, say
from retriever.evaluate.quality import read_questions
from retriever.evaluate.report import Plan, evaluate
from retriever.evaluate.sweep import make_sweep
from retriever.options import BuildOptions

QUESTIONS = 300
_KNOBS = {"nprobe": (1, 8, 64), "ef_search": (16, 64, 256)}
_DERIVED: dict[str, tuple[str, dict[str, Any]]] = {
    "flat-fp16": ("flat", {"precision": "fp16"}),
    "flat-sq8": ("flat", {"precision": "sq8"}),
    "ivf": ("ivf", {}),
    "ivfpq": ("ivfpq", {}),
    "ivfpq-no-refine": ("ivfpq", {"refine": "none"}),
    "hnsw": ("hnsw", {}),
    "hybrid": ("hybrid", {}),
}


def run(materials: Materials) -> dict[str, Any]:
    """Make the indexes that are missing, and evaluate every setting on unfiltered questions."""
    corpus = materials.quickstart_corpus
    flat = materials.dense_index(corpus, "flat")
    indexes = [flat, *_derive(materials, flat), materials.index(corpus, "bm25", "--kind", "bm25")]
    questions = read_questions(materials.question_files[0], QUESTIONS)
    settings = list(make_sweep(indexes, _KNOBS))
    rows = evaluate(
        settings,
        Plan(questions),
        on_row=lambda row: say(f"  {row['index']} {row['settings'] or ''}"),
    )
    return {"questions": QUESTIONS, "exact": "flat", "rows": rows}


def _derive(materials: Materials, flat: Path) -> list[Path]:
    made = []
    with direct_process() as direct:
        for name, (kind, choices) in _DERIVED.items():
            target = materials.folder / name
            options = BuildOptions(encoder=materials.encoder, **choices)
            if not is_current(target, materials.quickstart_corpus):
                shutil.rmtree(target, ignore_errors=True)
                direct.call(derive_index, flat, target, kind, options)
            made.append(target)
    return made
