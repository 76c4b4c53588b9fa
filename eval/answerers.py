"""Who answers, how, and which questions are still to be answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.steps import DataPrepError
from eval.benchmarks import uid_of
from eval.methods import METHODS, Decoding, Method, decoding_named
from search_r1.metrics import INFRASTRUCTURE
from search_r1.rows import Row


@dataclass(frozen=True)
class Answerer:
    """One model, and the ways it is to answer."""

    name: str
    """What it is called in the files."""
    model: str
    """Its folder, or what the server at ``url`` calls it."""
    prompt: str | None
    """Prompt to put questions into where a method has none of its own; the config's when None."""
    methods: tuple[str, ...]
    """``METHOD:DECODING``, in order."""
    url: str | None = None
    """Server of completions that has the model; None runs it here."""
    tokenizer: str | None = None
    """Folder or hub name of the tokenizer for a served model; the model's name when None."""

    def passes(self, out: Path) -> list[Pass]:
        """Give one pass per method, with the file it writes.

        Raises:
            ValueError: On a method or decoding that nobody knows.
        """
        made = []
        for one in self.methods:
            method, _, decoding = one.partition(":")
            if method not in METHODS:
                raise ValueError(f"unknown method {method!r}; choose from {', '.join(METHODS)}.")
            drawn = decoding_named(decoding or "greedy")
            path = out / f"{self.name}.{method}.{drawn.name}.jsonl"
            made.append(Pass(METHODS[method], drawn, path))
        return made


@dataclass(frozen=True)
class Pass:
    """One pass over the questions: how they are answered, and where the trajectories go."""

    method: Method
    decoding: Decoding
    path: Path

    @property
    def manifest_path(self) -> Path:
        """The file that says what the trajectories are of."""
        return self.path.with_suffix(".json")

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Give the questions without a trajectory; what infrastructure ended counts as none."""
        kept = self._kept()
        return [row for row in rows if kept.get(uid_of(row), _NOTHING).is_lost]

    def tidy(self, rows: Sequence[Row]) -> None:
        """Leave one line per question, in the order of the questions; whole or not at all.

        Raises:
            DataPrepError: If the file holds answers to questions that are not asked.
        """
        kept = self._kept()
        order = [uid_of(row) for row in rows]
        if strangers := sorted(kept.keys() - set(order)):
            raise DataPrepError(
                f"{self.path} holds {len(strangers)} answers to other questions, such as "
                f"{strangers[0]}; give another --name or --out, or delete that file."
            )
        partial = self.path.with_suffix(".partial")
        partial.write_bytes(b"".join(kept[uid].text + b"\n" for uid in order if uid in kept))
        partial.replace(self.path)

    def _kept(self) -> dict[str, _Line]:
        """Give the line of every question; a torn one is none, and one that was lost gives way."""
        kept: dict[str, _Line] = {}
        for text in self.path.read_bytes().split(b"\n") if self.path.is_file() else []:
            try:
                record = json.loads(text)
            except ValueError:
                continue
            try:
                uid, is_lost = record["uid"], record["stop_reason"] in INFRASTRUCTURE
            except (KeyError, TypeError) as error:
                raise DataPrepError(
                    f"{self.path} holds a line that is no trajectory ({text[:60]!r}); give another "
                    "--name or --out, or delete that file."
                ) from error
            if kept.get(uid, _NOTHING).is_lost:
                kept[uid] = _Line(text, is_lost)
        return kept


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file of trajectories."""

    text: bytes
    is_lost: bool
    """Infrastructure ended the trajectory."""


_NOTHING = _Line(b"", is_lost=True)


def read_plan(path: Path) -> list[Answerer]:
    """Read several answerers from a JSON list of ``{name, model, prompt, methods}``.

    Raises:
        DataPrepError: If the file is not such a list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        plan = [
            Answerer(
                one["name"],
                one["model"],
                one.get("prompt"),
                tuple(one["methods"]),
                one.get("url"),
                one.get("tokenizer"),
            )
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
