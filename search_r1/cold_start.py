"""Supervised training before reinforcement learning: what is asked for, and what names its result.

A cold start teaches the form of a trajectory and is neutral about *when* to search, unless it is
asked not to be: every question comes with one demonstration that searches and one that answers
directly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

DEMONSTRATIONS = "demonstrations.jsonl"
MODEL = "model"  # the folder with the trained model
RECEIPT = "cold_start.json"
_DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True)
class ColdStartConfig:
    """How many demonstrations, and how they are trained on."""

    questions: str
    """Question file (parquet) that demonstrations are made of; rows need ``extra_info.queries``."""
    num_questions: int = 200
    """Questions taken from its start, each with two demonstrations."""
    is_neutral: bool = True
    """One of the two answers directly; otherwise twice as many questions have one that searches."""
    epochs: int = 1
    """Passes over the demonstrations; more than two make a small model sure of itself."""
    batch_size: int = 10
    """Demonstrations per update, half of them searching; an even number."""
    lr: float = 1e-4
    """Learning rate after ``warmup_steps``."""
    lr_schedule: str = "cosine"
    """``cosine`` falls to zero, so that the last batches do not decide; or ``constant``."""
    warmup_steps: int = 4
    """Updates over which the learning rate rises."""
    max_tokens_per_micro_batch: int = 1024
    """Tokens that one forward pass packs."""
    save_freq: int = 20
    """Updates between checkpoints that an interrupted cold start goes on from; -1 saves none."""
    seed: int = 0
    """Of the order of the questions."""

    def __post_init__(self) -> None:
        for name in ("num_questions", "epochs", "batch_size", "max_tokens_per_micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"search_r1.cold_start.{name} is {getattr(self, name)}; it must be at least 1."
                )
        if self.batch_size % 2:
            raise ValueError(
                f"search_r1.cold_start.batch_size is {self.batch_size}; make it even: each batch "
                "holds as many searching demonstrations as direct ones."
            )
        if self.batch_size > 2 * self.num_questions:
            raise ValueError(
                f"search_r1.cold_start.batch_size is {self.batch_size}, and {self.num_questions} "
                f"questions give {2 * self.num_questions} demonstrations; lower it, or raise "
                "num_questions."
            )
        if self.save_freq == 0 or self.save_freq < -1:
            raise ValueError(
                f"search_r1.cold_start.save_freq is {self.save_freq}; it must be at least 1, or -1 "
                "for no checkpoint before the end."
            )
        if self.lr_schedule not in ("cosine", "constant"):
            raise ValueError(
                f"search_r1.cold_start.lr_schedule is {self.lr_schedule!r}, not cosine or constant."
            )
        if not self.lr > 0:
            raise ValueError(f"search_r1.cold_start.lr is {self.lr}; it must be above 0.")

    @property
    def num_updates(self) -> int:
        """Updates in all; what is left of an epoch after its last whole batch is not used."""
        return self.epochs * (2 * self.num_questions // self.batch_size)


def place_of(config: Mapping[str, Any], artifacts: Path) -> Path:
    """Name the folder of a cold start; the same settings and files share one.

    Args:
        config: A composed training config, as plain containers, whose local paths are absolute.
        artifacts: The artifacts folder.
    """
    inputs = inputs_of(config)
    text = json.dumps(inputs, sort_keys=True).encode()
    return artifacts / "cold_start" / hashlib.sha256(text).hexdigest()[:_DIGEST_CHARS]


def inputs_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what decides the result: model, questions, format, limits, settings, arithmetic."""
    section = config["search_r1"]
    settings = asdict(ColdStartConfig(**section["cold_start"]))
    names = ("prompt", "prompt_style", "result_style", "template_options", "parser")
    form = {name: section.get(name) for name in (*names, "parser_options", "tools", "top_k")}
    index = section["retriever"].get("index")
    return {
        "settings": settings,
        "form": form,
        "loop": _unusual_limits(section["loop"] or {}),
        "compute_dtype": section.get("compute_dtype"),
        "model": _stamp(Path(config["actor_rollout_ref"]["model"]["path"])),
        "questions": _stamp(Path(settings["questions"])),
        "index": _stamp(Path(index)) if index else None,
    }


def _unusual_limits(loop: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits that are not the defaults: writing a default out is no other setting."""
    from search_r1.loop import LoopConfig  # here: the launcher itself does without its imports

    defaults = {field.name: field.default for field in fields(LoopConfig)}
    return {name: value for name, value in loop.items() if value != defaults.get(name)}


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """Give what a finished cold start wrote down last; None when there is none."""
    try:
        receipt = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def _stamp(path: Path) -> str:
    """Name the content of a file or folder: its manifest's checksum, or its own size and name."""
    manifest = path / "manifest.json" if path.is_dir() else path.parent / "manifest.json"
    if manifest.is_file():
        return f"{path.name} {hashlib.sha256(manifest.read_bytes()).hexdigest()}"
    if path.is_file():
        return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    if path.is_dir():
        sizes = sorted((file.name, file.stat().st_size) for file in path.iterdir())
        return f"{path.name} {sizes}"
    return str(path)  # a name on a hub
