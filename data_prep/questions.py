"""Questions with gold answers: reading them, tidying them, keeping train and test apart."""

import ast
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from contract.answers import normalize_answer
from data_prep.steps import DataPrepError

TOPICS_FOLDER = "topics-and-qrels"


@dataclass(frozen=True)
class Question:
    """One dataset item."""

    id: str
    text: str
    gold_answers: tuple[str, ...]
    knowledge: str = ""  # of ``search_r1.metrics.KNOWLEDGE``; "" when nobody sampled the policy
    queries: tuple[str, ...] = ()  # short ones that a demonstration writes, in their order


def read_topics(jar: IO[bytes], name: str) -> list[Question]:
    """Read one topics file out of the Anserini jar.

    Its lines are question, tab, Python list of answers, or JSON objects (``question``, ``answer``).

    Raises:
        DataPrepError: If the file is missing from the jar or a line does not parse.
    """
    member = f"{TOPICS_FOLDER}/topics.{name}.txt"
    try:
        with zipfile.ZipFile(jar) as archive:
            text = archive.read(member).decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise DataPrepError(
            f"cannot read {member} from the Anserini jar: {error}. Delete the downloaded pyserini "
            "wheel and run the command again."
        ) from error
    # Not splitlines(): answers may hold characters that Python counts as line ends.
    lines = enumerate(text.split("\n"), start=1)
    return [_parse_topic(line, f"{name}-{n}") for n, line in lines if line.strip()]


def parse_answers(field: str) -> tuple[str, ...]:
    """Parse a Python list of strings, possibly wrapped in a CSV-quoted field.

    Raises:
        ValueError: If the field is anything else.
    """
    text = field.strip()
    if text.startswith('"') and text.endswith('"'):
        text = text[1:-1].replace('""', '"')
    try:
        answers = ast.literal_eval(text)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a Python list: {text[:80]!r}") from error
    if not isinstance(answers, list) or not all(isinstance(item, str) for item in answers):
        raise ValueError(f"expected a list of strings, got {text[:80]!r}")
    return tuple(answers)


def usable_answers(gold_answers: Iterable[str]) -> tuple[str, ...]:
    """Drop answers nothing can match (empty once normalised) and repeats of the same answer."""
    seen: set[str] = set()
    kept: list[str] = []
    for answer in gold_answers:
        normalized = normalize_answer(answer)
        if normalized and normalized not in seen:
            seen.add(normalized)
            kept.append(answer)
    return tuple(kept)


def _parse_topic(line: str, topic_id: str) -> Question:
    try:
        if line.startswith("{"):
            topic = json.loads(line)
            return Question(topic_id, topic["question"].strip(), tuple(topic["answer"]))
        text, tab, answers = line.partition("\t")
        if not tab:
            raise ValueError("no tab between question and answers")
        return Question(id=topic_id, text=text.strip(), gold_answers=parse_answers(answers))
    except (ValueError, KeyError) as error:
        raise DataPrepError(f"bad topic line {topic_id}: {error!r}") from error
