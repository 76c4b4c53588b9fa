"""Which trajectories a path stands for: a result, a folder of results, or a training run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from data_prep.steps import DataPrepError
from search_r1.runs.layout import CONFIG

_STEPS = "step_*.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Trajectories that are listed under one name."""

    name: str
    """A result's name, or the run's with ``training`` or ``validation``."""
    folder: Path
    pattern: str
    """Names of its files: one result, or a file for each step so far."""

    def files(self) -> list[Path]:
        """List the files that are there now, in order."""
        return sorted(self.folder.glob(self.pattern))


def find_places(paths: Sequence[Path]) -> list[Place]:
    """Find what several paths stand for; names are told apart by their folders.

    Raises:
        DataPrepError: If one does not exist or holds no trajectories.
    """
    found = list(dict.fromkeys(place for path in paths for place in _places_of(path)))
    names = [place.name for place in found]
    return [
        replace(place, name=_long_name(place)) if names.count(place.name) > 1 else place
        for place in found
    ]


def _long_name(place: Place) -> str:
    folder = place.folder.resolve()
    return f"{folder.parent.name}/{folder.name}/{place.name}"


def fragment_of(name: str, uid: str) -> str:
    """Write the part of the page's address, after ``#``, that opens a trajectory."""
    return f"{quote(name, safe='')}/{quote(uid, safe='/')}"


def _places_of(path: Path) -> Iterator[Place]:
    if path.is_file():
        yield Place(path.stem, path.parent, _escape(path.name))
        return
    if not path.is_dir():
        raise DataPrepError(
            f"there is nothing at {path}; expected a results folder of eval.run, a .jsonl of "
            "trajectories, or a training run such as runs/quickstart/TIMESTAMP. Check the path."
        )
    places = list(_in_folder(path))
    if not places:
        raise DataPrepError(
            f"{path} holds no trajectories; expected NAME.METHOD.DECODING.jsonl (eval.run), or "
            "trajectories/ and eval/ of a training run. Give one of those, or a .jsonl itself."
        )
    yield from places


def _in_folder(folder: Path) -> Iterator[Place]:
    name = folder.resolve().name
    for kind, words in (("trajectories", "training"), ("eval", "validation")):
        # A run that has begun and trained no step yet is shown as it grows.
        if any((folder / kind).glob(_STEPS)) or (kind == "trajectories" and _is_run(folder)):
            yield Place(f"{name} {words}", folder / kind, _STEPS)
    for results in (folder / "eval", folder):
        for path in sorted(results.glob("*.*.*.jsonl")):
            yield Place(path.stem, results, _escape(path.name))
    if not _is_run(folder):
        for path in sorted(folder.glob("*.jsonl")):
            if path.name.count(".") < 3 and _looks_like_trajectories(path):
                yield Place(path.stem, folder, _escape(path.name))


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or (folder / "trajectories").is_dir()


def _looks_like_trajectories(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(b'{"uid"')


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def find_tokenizer(place: Place) -> tuple[Path | None, str]:
    """Find the tokenizer of the model that wrote the trajectories.

    Returns:
        Its ``tokenizer.json``, or None with what is missing, in words.
    """
    named = [model for model in (_of_result(place), _of_run(place)) if model]
    for model in named:
        if (Path(model) / "tokenizer.json").is_file():
            return Path(model) / "tokenizer.json", ""
    known = f"the model's folder ({named[0]}) holds none" if named else "no model is named"
    return None, f"tokens need the tokenizer, and {known}; give --tokenizer DIR"


def _of_result(place: Place) -> str | None:
    """Read the model from the manifest beside a result."""
    for path in place.files()[:1]:
        try:
            manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return str(manifest.get("model") or "") or None
    return None


def _of_run(place: Place) -> str | None:
    """Read the model from the config of the run around it."""
    for folder in (place.folder, place.folder.parent):
        try:
            config: Any = yaml.load((folder / CONFIG).read_text(encoding="utf-8"), _LOADER)
            return str(config["actor_rollout_ref"]["model"]["path"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
    return None


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
