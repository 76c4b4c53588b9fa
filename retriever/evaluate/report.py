"""Settings to measured rows: what goes into the JSON and the table."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retriever.evaluate.measure import Measurement, measure
from retriever.evaluate.quality import Question, answer_recall, recall
from retriever.evaluate.sweep import Setting
from retriever.storage.manifest import read_manifest
from retriever.types import Hit


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of every setting."""

    questions: Sequence[Question]
    top_ks: tuple[int, ...] = (1, 3, 10)
    """Depths of recall and answer recall; the greatest is searched."""
    batch_sizes: tuple[int, ...] = (1, 64)
    encoder: Path | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check that there is something to ask."""
        if not self.questions:
            raise ValueError("there are no questions; give a file that has some.")
        if not self.top_ks or min(self.top_ks) < 1:
            raise ValueError(f"top_ks is {self.top_ks}; expected numbers of 1 or more.")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError(f"batch_sizes is {self.batch_sizes}; expected numbers of 1 or more.")


def evaluate(
    settings: Sequence[Setting],
    plan: Plan,
    against: Path | None = None,
    on_row: Callable[[dict[str, Any]], object] = lambda _row: None,
) -> list[dict[str, Any]]:
    """Measure every setting in a process of its own; gives one row per setting.

    Args:
        settings: What to measure.
        plan: Questions and depths.
        against: Index whose answers count as exact; None takes the first flat one of the settings,
            and rows have no recall when there is none.
        on_row: Called with each row as soon as it is there.
    """
    reference = _find_reference(settings, against)
    exact = None if reference is None else _measure_alone(reference, plan)
    rows = []
    for setting in settings:
        measured = exact if exact and setting == reference else _measure_alone(setting, plan)
        row = make_row(setting, measured, plan, exact.hits if exact else None)
        on_row(row)
        rows.append(row)
    return rows


def make_row(
    setting: Setting, measured: Measurement, plan: Plan, exact: list[list[Hit]] | None
) -> dict[str, Any]:
    """Put what was measured, and how good it was, into one JSON object."""
    row: dict[str, Any] = {
        "index": setting.index.name,
        "kind": setting.kind,
        "settings": setting.turned,
        "passages": read_manifest(setting.index).passages,
    }
    if exact is not None:
        found_ids, exact_ids = _ids(measured.hits), _ids(exact)
        row["recall"] = {str(k): recall(found_ids, exact_ids, k) for k in plan.top_ks}
    row["answer_recall"] = {
        str(k): answer_recall(plan.questions, measured.hits, k) for k in plan.top_ks
    }
    return row | {
        "latency_ms": measured.latency_ms,
        "search_ms": measured.search_ms,
        "queries_per_s": measured.queries_per_s,
        "index_mb": measured.index_mb,
        "resident_mb": measured.resident_mb,
    }


def format_table(rows: Sequence[dict[str, Any]], top_k: int) -> str:
    """Lay rows out as a Markdown table; recall at ``top_k``."""
    batches = list(rows[0]["queries_per_s"]) if rows else []
    head = ["index", f"recall@{top_k}", f"answer@{top_k}", "p50 ms", "p99 ms", "search ms"]
    head += [f"q/s, batch {size}" for size in batches] + ["index MB", "resident MB"]
    lines = [head]
    for row in rows:
        knobs = [f"{name}={value}" for name, value in row["settings"].items()]
        found = row["recall"][str(top_k)] if "recall" in row else None
        cells = [" ".join([row["index"], *knobs]), "-" if found is None else f"{found:.3f}"]
        cells += [f"{row['answer_recall'][str(top_k)]:.3f}"]
        cells += [f"{row['latency_ms'][p]:.1f}" for p in ("p50", "p99")]
        cells += [f"{row['search_ms']:.2f}"]
        cells += [f"{row['queries_per_s'][size]:.0f}" for size in batches]
        cells += [f"{row['index_mb']:.1f}", f"{row['resident_mb']:.0f}"]
        lines.append(cells)
    return lay_out(lines)


def lay_out(lines: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; the first line is its head, numbers stand to the right."""
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def _measure_alone(setting: Setting, plan: Plan) -> Measurement:
    queries = [question.text for question in plan.questions]
    # Not a Pool, which kills its process: that leaves semaphores behind, and a warning of them.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(
            measure,
            setting,
            queries,
            max(plan.top_ks),
            plan.batch_sizes,
            encoder=plan.encoder,
            threads=plan.threads,
        ).result()


def _find_reference(settings: Sequence[Setting], against: Path | None) -> Setting | None:
    if against is not None:
        return Setting(against, read_manifest(against).kind)
    return next((setting for setting in settings if setting.kind == "flat"), None)


def _ids(hit_lists: list[list[Hit]]) -> list[list[str]]:
    return [[hit.passage.id for hit in hits] for hits in hit_lists]
