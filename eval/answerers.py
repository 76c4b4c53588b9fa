"""Who answers, how, and which questions are still to be answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.rows import Row
from data_prep.steps import DataPrepError
from eval.methods import DECODINGS, METHODS, Decoding, Method
from search_r1.metrics import INFRASTRUCTURE


@dataclass(frozen=True)
class Answerer:
    """One model, and the ways it is to answer."""

    name: str
    """What it is called in the files."""
    model: str
    """Its folder."""
    prompt: str | None
    """Prompt to put questions into; the config's, else the rows' own, when None."""
    methods: tuple[str, ...]
    """``METHOD:DECODING``, in order."""

    def passes(self, out: Path) -> list[Pass]:
        """Give one pass per method, with the file it writes."""
        made = []
        for one in self.methods:
            method, decoding = one.split(":")
            path = out / f"{self.name}.{method}.{decoding}.jsonl"
            made.append(Pass(METHODS[method], DECODINGS[decoding], path, self.model, self.prompt))
        return made


@dataclass(frozen=True)
class Pass:
    """One pass over the questions: who answers, how, and where the trajectories go."""

    method: Method
    decoding: Decoding
    path: Path
    model: str = ""
    prompt: str | None = None

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Give the questions without a trajectory; a half-written last line is dropped first.

        What infrastructure ended is asked again.

        Raises:
            DataPrepError: If the file holds answers of another model, prompt or question file.
        """
        if not self.path.is_file():
            return list(rows)
        questions = {uid_of(row): row["extra_info"]["question"] for row in rows}
        kept, answered = [], set()
        for line in self.path.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self._require_own(record, questions)
            if record["stop_reason"] not in INFRASTRUCTURE:
                kept.append(line)
                answered.add(record["uid"])
        self.path.write_bytes(b"".join(line + b"\n" for line in kept))
        return [row for row in rows if uid_of(row) not in answered]

    def _require_own(self, record: dict[str, Any], questions: dict[str, str]) -> None:
        noted = record["metadata"]
        found = noted.get("weights", ""), noted.get("prompt")
        if found == (self.model, self.prompt):
            if questions.get(record["uid"], record["question"]) == record["question"]:
                return
            found = (f"{found[0]} to other questions", found[1])
        raise DataPrepError(
            f"{self.path} holds answers of {found[0] or 'an unnamed model'} (prompt {found[1]}), "
            f"and {self.model} (prompt {self.prompt}) was asked for; give another --name or --out, "
            "or delete that file."
        )


def uid_of(row: Row) -> str:
    """Name a question by its data source and its place in the file."""
    return f"{row['data_source']}/{row['extra_info']['index']}"


def read_plan(path: Path) -> list[Answerer]:
    """Read several answerers from a JSON list of ``{name, model, prompt, methods}``.

    Raises:
        DataPrepError: If the file is not such a list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        plan = [
            Answerer(one["name"], one["model"], one.get("prompt"), tuple(one["methods"]))
            for one in entries
        ]
        for one in plan:
            one.passes(path.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataPrepError(
            f"{path} is no plan: {error!r}; expected a JSON list of "
            '{"name": ..., "model": DIR, "prompt": NAME or null, "methods": ["search:greedy"]}.'
        ) from error
    return plan
