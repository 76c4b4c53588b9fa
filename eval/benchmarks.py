"""The question sets of an evaluation: Search-R1's seven, what ships in packages, or a file.

The seven have the splits and sizes that Search-R1 evaluates on, 51,713 questions. They come from
the hub (RUC-NLPIR/FlashRAG_datasets), those that a pinned package carries from there, and every one
from a local file of the same rows: ``nq=FILE.jsonl``.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from pyarrow.parquet import read_schema

from data_prep.assets import fetch_assets, read_member
from data_prep.hub import HUB_REPO, HubSet, load_hub_rows, parse_questions, read_file_rows
from data_prep.overlap import question_key
from data_prep.questions import Question, read_topics
from data_prep.rows import read_rows
from data_prep.sources import QUESTIONS
from data_prep.steps import DataPrepError
from search_r1.prompts import build_prompt
from search_r1.rows import Row
from search_r1.runs.places import artifacts_dir

_PROMPT = "search_r1"  # where neither the config nor --prompt names one


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One question set."""

    name: str
    """What users write, and the ``data_source`` of its rows."""
    split: str
    number: int
    """Questions that the split has; another count is refused."""
    topics: str | None = None
    """Topics file of the pyserini package that holds it; None when only the hub does."""
    is_local: bool = False
    """Nothing here can download it: it is read from a file."""

    def load(self) -> list[Question]:
        """Read the set from where it is nearest, unchecked.

        Raises:
            DataPrepError: If the package or the hub cannot be reached.
        """
        if self.is_local:
            raise DataPrepError(
                f"{self.name} is not downloaded; give its decrypted file as {self.name}=FILE.jsonl."
            )
        if self.topics is not None:
            return read_topics(io.BytesIO(_topics_jar(artifacts_dir() / "assets")), self.topics)
        hub_set = HubSet(self.name, (self.split,), license="", attribution="")
        rows = load_hub_rows(hub_set, self.split)
        place = f"{HUB_REPO} {self.name}/{self.split}"
        named = ((f"{place} row {n}", row) for n, row in enumerate(rows))
        return parse_questions(named, place, is_published=True)


@functools.lru_cache(maxsize=1)  # one evaluation reads several of its files
def _topics_jar(folder: Path) -> bytes:
    (member,) = QUESTIONS.members
    return read_member(QUESTIONS, fetch_assets([QUESTIONS], folder)[QUESTIONS.package], member)


SEVEN = (
    Benchmark("nq", "test", 3610, "nq.test"),
    Benchmark("triviaqa", "test", 11313, "dpr.trivia.test"),
    Benchmark("popqa", "test", 14267),
    Benchmark("hotpotqa", "dev", 7405),
    Benchmark("2wikimultihopqa", "dev", 12576),
    Benchmark("musique", "dev", 2417),
    Benchmark("bamboogle", "test", 125),
)
"""What Search-R1 evaluates on."""
BROWSECOMP_PLUS = Benchmark("browsecomp_plus", "test", 830, is_local=True)
"""Its questions and answers are published encrypted; its own script decrypts them into a file."""
BENCHMARKS = {
    each.name: each
    for each in (
        *SEVEN,
        Benchmark("webquestions", "test", 2032, "dpr.wq.test"),
        BROWSECOMP_PLUS,
    )
}
SETS = {
    "seven": tuple(each.name for each in SEVEN),
    "offline": tuple(name for name, each in BENCHMARKS.items() if each.topics),
}
"""Names that stand for several."""


def load_rows(wanted: Sequence[str], number: int | None = None) -> list[Row]:
    """Read the questions of an evaluation.

    Args:
        wanted: Names of benchmarks or sets of them, ``NAME=FILE`` for a benchmark in a local file,
            or a file of your own (.jsonl or .parquet in FlashRAG's shape, or data_prep's parquet).
        number: Take so many from the start of each; None takes all.

    Returns:
        Rows in data_prep's shape, one set after the other.

    Raises:
        DataPrepError: On a name nobody knows, a set of another size, a row without a usable gold
            answer, or a set that is asked for twice.
    """
    if number is not None and number < 1:
        raise DataPrepError(f"--number is {number}; expected 1 or more.")
    names = [each for name in wanted for each in SETS.get(name, (name,))]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataPrepError(f"--benchmarks names {repeated[0]!r} more than once.")
    rows: list[Row] = []
    for name in names:
        found = _rows_of(name)
        if number is not None and len(found) < number:
            raise DataPrepError(f"{name} has {len(found)} questions; --number asks for {number}.")
        rows += found[:number]
    _topics_jar.cache_clear()  # 142 MB
    _require_distinct(rows)
    return rows


def uid_of(row: Row) -> str:
    """Name a question by its data source and its place in the file."""
    return f"{row['data_source']}/{row['extra_info']['index']}"


def golds_of(row: Row) -> list[str]:
    """Give a row's gold answers as they are."""
    golds: list[str] = row["reward_model"]["ground_truth"]["target"]
    return golds


def fingerprint(rows: Iterable[Row]) -> str:
    """Give the SHA-256 of questions and gold answers, in order: what two runs must share."""
    digest = hashlib.sha256()
    for row in rows:
        parts = [uid_of(row), row["extra_info"]["question"], *golds_of(row)]
        digest.update("\x1f".join(parts).encode())
        digest.update(b"\x1e")
    return digest.hexdigest()


def overlap(rows: Iterable[Row], training: Path) -> list[str]:
    """List the questions that a training file holds too, in any case or punctuation.

    Raises:
        DataPrepError: If the file is no questions file.
    """
    seen = {question_key(row["extra_info"]["question"]) for row in _read_own(training)}
    texts = [row["extra_info"]["question"] for row in rows]
    return [text for text in texts if question_key(text) in seen]


def _read_own(path: Path) -> list[Row]:
    """Read a file of data_prep's rows, or of FlashRAG's, which become rows."""
    if path.suffix == ".parquet" and path.is_file() and "extra_info" in _columns(path):
        return read_rows(path)
    questions = parse_questions(_renamed(path), str(path))
    twice = [name for name, times in Counter(each.id for each in questions).items() if times > 1]
    if twice:
        raise DataPrepError(
            f"{path} has {len(twice)} id(s) more than once, such as {twice[0]!r}; give each "
            "question an id of its own, or leave ids out."
        )
    return [_row(path.stem, "test", n, each) for n, each in enumerate(questions)]


def _renamed(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read rows; those with BrowseComp-Plus' names get FlashRAG's."""
    for place, row in read_file_rows(path):
        if {"query_id", "query", "answer"} <= row.keys():
            named = {"id": row["query_id"], "question": row["query"]}
            yield place, named | {"golden_answers": [row["answer"]]}
        else:
            yield place, row


def _columns(path: Path) -> list[str]:
    try:
        names: list[str] = read_schema(path).names
    except (ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataPrepError(f"{path} is not a readable parquet file ({reason}).") from error
    return names


def _row(source: str, split: str, index: int, question: Question) -> Row:
    """Give a row with the golds as they are: published sets have a few that nothing can match."""
    extra = {"split": split, "index": index, "question": question.text, "id": question.id}
    return {
        "data_source": source,
        "prompt": build_prompt(_PROMPT, question.text),
        "reward_model": {"style": "rule", "ground_truth": {"target": [*question.gold_answers]}},
        "extra_info": extra,
    }


def _require_distinct(rows: Sequence[Row]) -> None:
    twice = [uid for uid, times in Counter(map(uid_of, rows)).items() if times > 1]
    if twice:
        raise DataPrepError(
            f"{len(twice)} question(s) share their data source and index with another, such as "
            f"{twice[0]}; results could not be told apart."
        )


def _rows_of(name: str) -> list[Row]:
    known, _, file = name.partition("=")
    if known in BENCHMARKS:
        benchmark = BENCHMARKS[known]
        questions = (
            parse_questions(_renamed(Path(file)), file, is_published=True)
            if file
            else benchmark.load()
        )
        if len(questions) != benchmark.number:
            raise DataPrepError(
                f"{file or known} holds {len(questions)} questions; {known} {benchmark.split} has "
                f"{benchmark.number}. A file of your own is given by its path alone."
            )
        return [_row(known, benchmark.split, n, each) for n, each in enumerate(questions)]
    if Path(name).suffix:
        return _read_own(Path(name))
    raise DataPrepError(
        f"no benchmark {name!r}; choose from {', '.join([*BENCHMARKS, *SETS])}, or give a .jsonl "
        "or .parquet file."
    )
