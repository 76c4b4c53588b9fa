"""A Markdown report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt


def write_page(text: str, plots: Sequence[str]) -> str:
    """Give the page; what models and passages wrote stays text.

    Args:
        text: Markdown with one heading of the first level.
        plots: SVG, shown below that heading.
    """
    body = str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
    drawn = "".join(f"<figure>{svg}</figure>" for svg in plots)
    return _PAGE.replace("{{body}}", body.replace("</h1>", f"</h1>{drawn}", 1))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation</title>
<style>
:root { color-scheme: light dark; --line: #8884; --accent: #2563eb; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto;
  font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
code { font-size: .9em; }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { max-width: 100%; min-width: 36rem; height: auto; background: white; }
@media (max-width: 30rem) { body { font-size: 14px; margin: 1rem auto; } }
</style></head><body>{{body}}</body></html>
"""
