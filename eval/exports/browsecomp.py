"""BrowseComp-Plus' run files, one a question, as its evaluation script reads them.

A file says which query it answers, what was searched and read, and ends with the answer that its
judge grades. The ids of passages are those of the index; its recall is right only over an index of
its own corpus, not cut into passages.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from eval.exports.trec import passages_read
from eval.measures import Result
from search_r1.metrics import Record


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``NAME/run_QUERY_ID.json`` for each question."""
    target = folder / result.name
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for record in result.records:
        query_id = str(record["metadata"].get("id") or record["uid"])
        path = target / f"run_{re.sub(r'[^A-Za-z0-9_-]', '_', query_id)}.json"
        text = json.dumps(_run(record, query_id, result), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8", errors="replace")
        paths.append(path)
    return paths


def _run(record: Record, query_id: str, result: Result) -> dict[str, Any]:
    calls = [call for turn in record["turns"] for call in turn["calls"]]
    return {
        "metadata": {
            "model": result.manifest.model,
            "max_output_tokens": result.manifest.limits.get("max_response_tokens"),
            "protocol": result.name,
        },
        "query_id": query_id,
        "tool_call_counts": dict(Counter(call["name"] for call in calls)),
        "status": "incomplete" if record["prediction"] is None else "completed",
        "retrieved_docids": passages_read(record),
        "result": _entries(record),
    }


def _entries(record: Record) -> list[dict[str, Any]]:
    entries = []
    for turn in record["turns"]:
        text = (turn["opening"] + turn["model_text"]).strip()
        entries.append(_entry("reasoning", None, None, [text]))
        for call in turn["calls"]:
            arguments = json.dumps(call["arguments"], ensure_ascii=False)
            entries.append(
                _entry("tool_call", call["name"], arguments, turn["observation_text"].strip())
            )
    if record["prediction"] is not None:
        entries.append(_entry("output_text", None, None, record["prediction"]))
    return entries


def _entry(kind: str, tool: str | None, arguments: str | None, output: Any) -> dict[str, Any]:
    return {"type": kind, "tool_name": tool, "arguments": arguments, "output": output}
