"""What well-known encoders expect before a text and how they make one vector of its tokens.

A sentence-transformers folder says most of this itself; a plain Hugging Face folder says none.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import orjson

from retriever.errors import EncoderError


@dataclass(frozen=True, slots=True)
class EncoderPreset:
    """How one family of encoders was trained to be used."""

    query_prefix: str = ""
    """Put before every query."""
    passage_prefix: str = ""
    """Put before every passage."""
    pooling: str = "mean"
    """How token vectors become one."""
    is_normalized: bool = True
    """Whether vectors are compared by cosine (length 1) or by plain inner product."""


PRESETS = {
    "e5": EncoderPreset("query: ", "passage: "),
    "bge": EncoderPreset(
        "Represent this sentence for searching relevant passages: ", pooling="cls"
    ),
    "bge-m3": EncoderPreset(pooling="cls"),
    "contriever": EncoderPreset(is_normalized=False),
    "dpr": EncoderPreset(pooling="cls", is_normalized=False),
    "minilm": EncoderPreset(),
}

# The first that fits. Instruction-tuned e5 models want other prefixes, which their folders give.
_NAMES = (
    ("e5", re.compile(r"\be5\b(?!.*(instruct|mistral))")),
    ("bge-m3", re.compile(r"\bbge-m3\b")),
    ("bge", re.compile(r"\bbge-(small|base|large)-en\b")),
    ("contriever", re.compile(r"\b(m)?contriever\b")),
    ("dpr", re.compile(r"\bdpr\b")),
    ("minilm", re.compile(r"\b(all-|multi-qa-)?minilm\b")),
)
_CACHED = re.compile(r"models--.+")  # how Hugging Face's cache names the folder of a model


def find_preset(folder: Path, name: str | None = None) -> EncoderPreset | None:
    """Return the preset of an encoder folder, or None for a model of no known family.

    Args:
        folder: The encoder; its name tells the family, else the model name in its config.json.
        name: One of ``PRESETS``, whatever the folder is called.

    Raises:
        EncoderError: If there is no preset of that name.
    """
    if name is not None:
        if name not in PRESETS:
            raise EncoderError(
                f"unknown encoder preset {name!r}; choose one of: {', '.join(PRESETS)}."
            )
        return PRESETS[name]
    for called in _names_of(folder):
        for family, pattern in _NAMES:
            if pattern.search(called.lower().replace("_", "-")):
                return PRESETS[family]
    return None


def _names_of(folder: Path) -> list[str]:
    whole = folder.resolve()
    names = [whole.name, *(part for part in whole.parts[-3:-1] if _CACHED.fullmatch(part))]
    if (folder / "config.json").is_file():
        config = orjson.loads((folder / "config.json").read_bytes())
        if isinstance(config, dict):
            names.append(str(config.get("_name_or_path", "")))
    return names
