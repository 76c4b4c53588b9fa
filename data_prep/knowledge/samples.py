"""What the policy answered without search: the committed file, and reading and writing it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from data_prep.steps import DataPrepError

SAMPLES_FILE = Path(str(files("data_prep.knowledge").joinpath("samples.jsonl")))
PROMPT = "Question: {}\nAnswer: {}\n\nQuestion: {}\nAnswer: {}\n\nQuestion: {}\nAnswer:"
STOP = "\n"
AGAIN = "run `python -m data_prep.label_knowledge` to sample them"


@dataclass(frozen=True)
class Sampling:
    """How the answers were sampled; the first line of the file."""

    model: str
    model_sha256: str  # of its model.safetensors
    dtype: str
    prompt: str  # two examples of the same kind, then the question
    temperature: float  # of the samples; the first answer is greedy
    samples: int
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Answers:
    """The greedy answer to one question and the sampled ones."""

    greedy: str
    sampled: tuple[str, ...]


def write_samples(
    path: Path, sampling: Sampling, answers: Iterable[tuple[str, str, Answers]]
) -> None:
    """Write one line for the sampling, then one per question: source, text, greedy, sampled."""
    lines = [_line(asdict(sampling))]
    lines += [
        _line([source, text, each.greedy, list(each.sampled)]) for source, text, each in answers
    ]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(path)


def read_samples(path: Path) -> tuple[Sampling, dict[tuple[str, str], Answers]]:
    """Read the file back: how it was sampled, and (source, question text) to the answers.

    Raises:
        DataPrepError: If the file is missing or a line is not what ``write_samples`` writes.
    """
    try:
        # Not splitlines(): answers may hold characters that Python counts as line ends.
        first, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        rows = [json.loads(line) for line in lines]
        answers = {
            (source, text): Answers(greedy, tuple(sampled))
            for source, text, greedy, sampled in rows
        }
        return _sampling(json.loads(first)), answers
    except (OSError, ValueError, TypeError) as error:
        raise DataPrepError(
            f"cannot read the policy's samples {path}: {error}; expected a line that says how they "
            f"were sampled and one of [source, question, greedy, samples] each. Restore the file, "
            f"or {AGAIN}."
        ) from error


def _sampling(fields: Mapping[str, Any]) -> Sampling:
    return Sampling(**fields)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
