"""Figures to Markdown tables: what the bench prints is what the docs show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from retriever.evaluate.report import format_table, lay_out

Figures = dict[str, Any]


def make_tables(report: dict[str, Figures]) -> dict[str, str]:
    """Give the Markdown of every part that the report has.

    Args:
        report: Part to its figures, as in ``docs/benchmarks/retriever.json``.
    """
    return {part: _TABLES[part](report[part]) + "\n\n" + _origin(report[part]) for part in report}


def _origin(figures: Figures) -> str:
    machine = figures["machine"]
    return (
        f"`{figures['command']}`, {figures['date']}, {machine['cores']} cores ({machine['cpu']}), "
        f"load before {figures['load_before']:.1f}."
    )


def _limits(figures: Figures) -> str:
    rows = [
        [f"sentence-transformers alone: {name}", _rate(rate)]
        for name, rate in figures["encoder_queries_per_s"].items()
    ]
    search = figures["search"]
    rows += [
        ["FAISS flat alone, batch 64", _rate(search["faiss_flat_batch_64_per_s"])],
        ["encoder and index, batch 256", _rate(search["encode_and_search_batch_256_per_s"])],
        ["encoder and index, one query", f"{search['encode_and_search_alone_ms']:.1f} ms"],
    ]
    rows += [
        [f"{name} FastAPI endpoint that does nothing, 64 clients", f"{rate:,.0f} requests/s"]
        for name, rate in figures["endpoint_requests_per_s"].items()
    ]
    cosine = figures["least_cosine_bf16"]
    return _table(["what", "speed"], rows) + f"\n\nLeast cosine bf16 to fp32: {cosine:.5f}."


def _encoders(figures: Figures) -> str:
    rows = [
        [way["way"], f"left out: {way['left_out']}", "-", "-", "-", "-"]
        if "left_out" in way
        else [
            way["way"],
            _rate(way["queries_per_s"]),
            _rate(way["small_batches_per_s"]),
            f"{way['lone_ms']:.1f} ms",
            f"{way['recall_of_fp32']:.3f}",
            f"{way['least_cosine']:.5f}",
        ]
        for way in figures["ways"]
    ]
    small = figures["small_batch"]
    head = ["way", f"{figures['queries']:,} queries", f"{small} by {small}"]
    return _table([*head, "one query", "recall@3", "least cosine"], rows)


def _versus(figures: Figures) -> str:
    head = ["traffic", "ours, q/s", "p50 / p99 ms", "Search-R1, q/s", "p50 / p99 ms"]
    head += ["q/s ratio", "p99 ratio"]
    rows = []
    for row in figures["rows"]:
        cells = [row["traffic"], *_side(row["ours"]), *_side(row.get("peer"))]
        ratios = [row.get("queries_per_s_ratio"), row.get("p99_ms_ratio")]
        rows.append([*cells, *("-" if r is None else _ratio(r) for r in ratios)])
    lines = [_table(head, rows), "", f"{figures['passages']:,} passages. Peer: {figures['peer']}."]
    if "same_top_3" in figures:
        half = figures["peer_in_float16"]
        lines.append(
            f"Same three passages for {figures['same_top_3']:.1%} of queries. In float16 the peer "
            f"gives {_rate(half['queries_per_s'])} ({half['traffic']})."
        )
    return "\n".join(lines)


def _coverage(figures: Figures) -> str:
    limit = figures["limit_queries_per_s"]
    rows = [["encoder and index in batches of 256, no HTTP", _rate(limit), "1"]]
    rows += [
        [f"server, {clients} clients", _rate(rate), _ratio(figures["share_of_limit"][clients])]
        for clients, rate in figures["queries_per_s"].items()
    ]
    alone, lone = figures["encode_and_search_alone_ms"], figures["lone_client_p50_ms"]
    rows += [
        ["one query, no HTTP", f"{alone:.1f} ms", "1"],
        ["one query, lone client", f"{lone:.1f} ms", _ratio(figures["lone_client_over_alone"])],
    ]
    return _table(["what", "median", "of the limit"], rows)


def _faults(figures: Figures) -> str:
    head = ["beside 16 good clients", "answered", "p99 quiet, ms", "p99 beside, ms", "ratio"]
    rows = [
        [
            f"{row['what']}, {row['bad_per_s']:g} a second",
            ", ".join(map(str, row["bad_statuses"])),
            f"{row['quiet_p99_ms']:.0f}",
            f"{row['p99_ms']:.0f}",
            _ratio(row["p99_ratio"]),
        ]
        for row in figures["beside_bad_requests"]
    ]
    over = figures["overload"]
    statuses = ", ".join(f"{count:,} with {status}" for status, count in over["statuses"].items())
    return (
        f"{_table(head, rows)}\n\nOverload at {over['times_capacity']:g} times the "
        f"{over['capacity_per_s']:.0f} requests/s that 64 clients get: "
        f"{over['goodput_per_s']:.0f} good answers/s, "
        f"{_ratio(over['goodput_over_capacity'])} of the capacity, p99 {over['p99_ms']:.0f} ms "
        f"({statuses}; at most "
        f"{over['max_waiting']:,} waiting)."
    )


def _million(figures: Figures) -> str:
    head = ["traffic", "q/s", "of encoder and index", "of the index alone", "Search-R1, q/s"]
    head += ["ratio"]
    peer = figures["peer"] if isinstance(figures["peer"], dict) else {}
    rows = []
    for row in figures["rows"]:
        theirs = peer.get(row["traffic"])
        rows.append(
            [
                row["traffic"],
                _rate(row["queries_per_s"]),
                _ratio(row["over_encode_and_search"]),
                _ratio(row["over_index_alone"]),
                _rate(theirs["queries_per_s"]) if theirs else "-",
                _ratio(row["queries_per_s_ratio"]) if theirs else "-",
            ]
        )
    return (
        f"{_table(head, rows)}\n\n{figures['passages']:,} random vectors, "
        f"{figures['vectors_mb']:,.0f} MB. Index alone in batches of 64: "
        f"{figures['index_alone_batch_64_per_s']:.0f} q/s; with the encoder: "
        f"{figures['encode_and_search_batch_64_per_s']:.0f} q/s. Server: "
        f"{figures['resident_mb']:,.0f} MB resident, of which "
        f"{figures['resident_mb_without_vectors']:,.0f} MB are there whatever the index is; the "
        f"rest is {figures['memory_over_vectors']:.2f} times the vectors."
    )


def _soak(figures: Figures) -> str:
    rows = [
        [f"{row['requests']:,}", f"{row['resident_mb']:.0f}", f"{row['unmapped_mb']:.0f}"]
        for row in figures["memory"]
    ]
    table = _table(["requests", "resident MB", "of it not mapped from files"], rows)
    return (
        f"{table}\n\n{figures['answered']:,} of {figures['requests']:,} answered, "
        f"{figures['requests_per_s']:,.0f} a second; growth after the first 20,000: "
        f"{figures['growth_after_first']:.1%}."
    )


def _building(figures: Figures) -> str:
    rows = [
        [f"{row['passages']:,}"]
        + [f"{row[name]:.0f}" for name in ("seconds", "resident_mb", "unmapped_mb")]
        for row in figures["memory"]["rows"]
    ]
    speed = figures["speed"]
    head = ["passages, tiny encoder", "seconds", "greatest resident MB", "not mapped from files"]
    return (
        f"With MiniLM {speed['passages_per_s']:.0f} passages/s, "
        f"{_ratio(speed['share_of_encoder'])} of the encoder alone in one call "
        f"({speed['encoder_alone_per_s']:.0f}); sentence-transformers in sorted batches gives "
        f"{speed['sentence_transformers_per_s']:.0f}.\n\n{_table(head, rows)}"
    )


def _frontier(figures: Figures) -> str:
    about = f"{figures['questions']} unfiltered questions, exact search is `{figures['exact']}`."
    return f"{format_table(figures['rows'], 3)}\n\n{about}"


_TABLES: dict[str, Callable[[Figures], str]] = {
    "limits": _limits,
    "encoders": _encoders,
    "versus": _versus,
    "coverage": _coverage,
    "faults": _faults,
    "million": _million,
    "soak": _soak,
    "building": _building,
    "frontier": _frontier,
}


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return lay_out([head, *rows])


def _side(figures: Figures | None) -> list[str]:
    if figures is None:
        return ["-", "-"]
    return [
        f"{figures['queries_per_s']:,.0f}",
        f"{figures['p50_ms']:,.0f} / {figures['p99_ms']:,.0f}",
    ]


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f} q/s" if per_s >= 100 else f"{per_s:.1f} q/s"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
