"""Report evaluations: ``python -m eval.report FOLDER... --out REPORT``.

Reads what ``eval.run`` wrote, and writes ``report.md`` (tables with 95 % intervals, protocol,
mistakes with examples), ``report.html`` (the same, on one page that needs nothing else, with
plots), ``figures.csv``, ``rows.tex`` and ``report.json``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.steps import DataPrepError, run_command, say
from eval.compare import compare
from eval.measures import (
    ALL,
    Figure,
    Result,
    companions,
    figures,
    gap,
    group_names,
    macro,
    read_results,
    when_to_search,
)
from eval.mistakes import Mistake, mistakes
from eval.page import write_page
from eval.plots import plot_scores, plot_searches, plot_training
from eval.published import published_section
from eval.training import Training, read_training, training_section
from eval.view.places import fragment_of

_EXAMPLES = 2  # of each mistake
_DRAWN = 8  # groups of questions in the plot; the table has all
_BEHAVIOUR = {
    "searched": "searched",
    "searches": "searches",
    "found": "answer found",
    "right_per_search": "right per search",
    "over_search": "over-search",
    "under_search": "under-search",
    "valid_calls": "valid calls",
    "f1": "F1",
    "sub_em": "sub-EM",
    "tokens_written": "tokens written",
    "tokens_read": "tokens read",
    "seconds": "seconds",
}
_NUMBERS = frozenset({"searches", "right_per_search", "tokens_written", "tokens_read", "seconds"})


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of some results."""

    results: Sequence[Result]
    groups: Sequence[str]
    figures: Mapping[str, Mapping[str, Mapping[str, Figure]]]
    """By result, group of questions, and name of the figure."""
    trainings: Sequence[Training] = ()
    """Runs whose curves are shown."""

    def get(self, result: Result, group: str, name: str) -> Figure | None:
        """Give one figure, if there is one."""
        return self.figures[result.name].get(group, {}).get(name)


def make_report(results: Sequence[Result], trainings: Sequence[Training] = ()) -> Report:
    """Compute every figure.

    Args:
        results: What was evaluated.
        trainings: Runs whose curves are shown.

    Raises:
        DataPrepError: If two results have one name.
    """
    names = [result.name for result in results]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataPrepError(
            f"two results are called {twice[0]}; evaluate with another --name, or report them one "
            "at a time."
        )
    groups = group_names(results)
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for result in results:
        by_group = found[result.name] = {g: figures(result.of(g)) for g in groups}
        if others := companions(result, results):
            for group in groups:
                by_group[group] |= when_to_search(result, *others, group)
        if difference := gap(result):
            by_group[ALL]["gap"] = difference
    return Report(results, groups, found, trainings)


def markdown(report: Report) -> str:
    """Write the report for reading on its own."""
    parts = [
        "# Evaluation",
        "## Exact match",
        _em_table(report),
        "95 % intervals in brackets: Wilson's. `macro` weighs every data source alike.",
        "## When it searches, and what comes of it",
        _behaviour_table(report),
        _definitions(),
    ]
    if pairs := list(_pairs(report)):
        parts += ["## Compared", "\n".join(f"- {sentence}" for sentence in pairs)]
    sections = (training_section(report.trainings), published_section(report.groups))
    parts += [section for section in sections if section]
    parts += ["## What went wrong", *_mistakes(report), "## Protocol", *_protocols(report)]
    return "\n\n".join(parts) + "\n"


def csv_text(report: Report) -> str:
    """Write every figure, a line each."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["result", "questions", "figure", "value", "low", "high", "number"])
    for name, by_group in report.figures.items():
        for group, of_group in by_group.items():
            for figure, one in of_group.items():
                writer.writerow([name, group, figure, one.value, one.low, one.high, one.number])
    return file.getvalue()


def latex_rows(report: Report) -> str:
    """Write a row of a LaTeX table per result: EM of each group, then searches."""
    lines = ["% " + " & ".join(["result", *report.groups, "searches"])]
    for result in report.results:
        cells = [_percent(report.get(result, group, "em")) for group in report.groups]
        cells.append(_number(report.get(result, ALL, "searches")))
        name = result.name.replace("_", r"\_")
        lines.append(" & ".join([name, *(cell.replace("%", r"\%") for cell in cells)]) + r" \\")
    return "\n".join(lines) + "\n"


def _plots(report: Report) -> list[str]:
    drawn = [plot_scores(report.results, report.figures, report.groups[:_DRAWN])]
    drawn.append(plot_searches(report.results, report.figures))
    return drawn + ([plot_training(report.trainings)] if report.trainings else [])


def _em_table(report: Report) -> str:
    numbers = {g: report.get(report.results[0], g, "em") for g in report.groups}
    heads = [f"{group} ({one.number if one else 0})" for group, one in numbers.items()]
    lines = [f"| | {' | '.join(heads)} | macro |", "| --- |" + " --- |" * (len(heads) + 1)]
    for result in report.results:
        cells = [_share(report.get(result, group, "em")) for group in report.groups]
        lost = f" ({result.num_lost} lost)" if result.num_lost else ""
        lines.append(f"| {result.label}{lost} | {' | '.join(cells)} | {macro(result):.1%} |")
    return "\n".join(lines)


def _behaviour_table(report: Report) -> str:
    names = [name for name in _BEHAVIOUR if any(report.get(r, ALL, name) for r in report.results)]
    has_gap = any(report.get(result, ALL, "gap") for result in report.results)
    heads = [_BEHAVIOUR[name] for name in names] + (["gap"] if has_gap else [])
    lines = [f"| | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for result in report.results:
        cells = [
            (_number if name in _NUMBERS else _percent)(report.get(result, ALL, name))
            for name in names
        ]
        if has_gap:
            one = report.get(result, ALL, "gap")
            cells.append(_points(one) if one else "-")
        lines.append(f"| {result.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _definitions() -> str:
    return (
        "*answer found*: a gold answer stood in what the model read. *right per search*: right "
        "answers of questions that were searched, for each search. *over-search*: searched, of "
        "the questions that it answers right when made to answer at once. *under-search*: not "
        "searched, of those that it answers wrong then and right when made to search. *gap*: "
        "share searched of unknown questions minus that of known ones, in points."
    )


def _pairs(report: Report) -> Iterator[str]:
    """Compare the model's own loop with every other result that may be compared."""
    own = next((r for r in report.results if r.manifest.method == "search"), None)
    for other in report.results:
        if own is None or other is own:
            continue
        try:
            one = compare(other, own)
        except DataPrepError as error:
            yield str(error)
            continue
        if one:
            yield one.verdict(other.name, own.name)


def _mistakes(report: Report) -> Iterator[str]:
    for result in report.results:
        kinds: dict[Mistake, list[dict[str, Any]]] = {}
        for kind, record in mistakes(result.records):
            kinds.setdefault(kind, []).append(record)
        lines = [f"### {result.name}", "", _how_to_open(result), ""]
        for kind, records in sorted(kinds.items(), key=lambda item: -len(item[1])):
            lines.append(f"- {kind}: {len(records)} of {len(result.records)}")
            for record in records[:_EXAMPLES]:
                wrote = "".join(t["opening"] + t["model_text"] for t in record["turns"])
                golds = " or ".join(record["gold_answers"][:3])
                lines.append(
                    f"  - {_one_line(record['question'])} It wrote `{_one_line(wrote)}`; "
                    f"right is {_one_line(golds)}. `#{fragment_of(result.name, record['uid'])}`"
                )
        yield "\n".join(lines)


def _how_to_open(result: Result) -> str:
    folder = Path(result.folder).absolute()
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    command = f"python -m eval.view {shlex.quote(str(folder))}"
    return f"`{command}` shows them; what begins with # is put behind the address it gives."


def _protocols(report: Report) -> Iterator[str]:
    for result in report.results:
        facts = asdict(result.manifest)
        lines = [f"### {result.name}"]
        lines += [f"- {key}: `{_one_line(json.dumps(value))}`" for key, value in facts.items()]
        yield "\n".join(lines)


def _one_line(text: str, limit: int = 300) -> str:
    flat = " ".join(text.replace("`", "'").replace("|", "/").split())
    return flat if len(flat) <= limit else f"{flat[:limit]}..."


def _percent(one: Figure | None) -> str:
    return f"{one.value:.1%}" if one else "-"


def _share(one: Figure | None) -> str:
    return f"{one.value:.1%} ({one.low:.1%}-{one.high:.1%})" if one else "-"


def _number(one: Figure | None) -> str:
    return f"{one.value:.2f}" if one else "-"


def _points(one: Figure) -> str:
    return f"{100 * one.value:+.0f} ({100 * one.low:+.0f} to {100 * one.high:+.0f})"


def write_report(report: Report, out: Path) -> None:
    """Write every form of it into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    plain = {
        name: {group: {k: asdict(v) for k, v in of.items()} for group, of in by_group.items()}
        for name, by_group in report.figures.items()
    }
    for name, text in (
        ("report.md", markdown(report)),
        ("report.html", write_page(markdown(report), _plots(report))),
        ("figures.csv", csv_text(report)),
        ("rows.tex", latex_rows(report)),
        ("report.json", json.dumps(plain, indent=2) + "\n"),
    ):
        (out / name).write_text(text, encoding="utf-8", errors="replace")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders or files of eval.run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--training", type=Path, nargs="+", default=[], metavar="RUN",
        help="folders of training runs whose curves to show")  # fmt: skip
    parsed = parser.parse_args(arguments)

    def run() -> None:
        report = make_report(read_results(parsed.results), read_training(parsed.training))
        write_report(report, parsed.out)
        say(_em_table(report))
        say(f"\n{parsed.out / 'report.md'}, report.html, figures.csv, rows.tex, report.json")

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
