"""What is measured: corpora, indexes and queries, made once from the quickstart's files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retriever.errors import RetrievalError
from retriever.evaluate.quality import read_questions
from retriever.storage.corpus import read_corpus
from retriever.storage.manifest import hash_file, read_manifest

_QUESTION_FILES = ("test_unfiltered.parquet", "test.parquet", "train.parquet")


class BenchError(RuntimeError):
    """The bench cannot go on; the message says what to do."""


class QueryStream:
    """Real questions without end, no two alike: from the second pass on, a number is added."""

    def __init__(self, questions: list[str]) -> None:
        """Take distinct questions."""
        self._questions = questions
        self._taken = 0

    def __iter__(self) -> Iterator[str]:
        while True:
            number, place = divmod(self._taken, len(self._questions))
            self._taken += 1
            yield self._questions[place] + (f" {number}" if number else "")

    def take(self, count: int) -> list[str]:
        """Return the next queries."""
        return list(islice(self, count))


@dataclass(frozen=True)
class Materials:
    """Where everything lies."""

    artifacts: Path
    """The quickstart's folder."""
    folder: Path
    """Where the bench keeps what it makes; reused by the next run."""
    peer: Path | None = None
    """A checkout of Search-R1."""
    streams: dict[str, QueryStream] = field(default_factory=dict)

    @property
    def encoder(self) -> Path:
        """MiniLM."""
        return self.artifacts / "models" / "all-minilm-l6-v2"

    @property
    def quickstart_corpus(self) -> Path:
        """Passages of about 50 words, cut from the extracts."""
        return self.artifacts / "corpora" / "quickstart" / "corpus.jsonl"

    @property
    def question_files(self) -> list[Path]:
        """The quickstart's questions, the unfiltered sample first."""
        folder = self.artifacts / "questions" / "quickstart"
        return [folder / name for name in _QUESTION_FILES]

    @property
    def queries(self) -> QueryStream:
        """The one stream of queries, so that no server sees a query twice by accident."""
        if "queries" not in self.streams:
            texts = [q.text for file in self.question_files for q in read_questions(file)]
            self.streams["queries"] = QueryStream(list(dict.fromkeys(texts)))
        return self.streams["queries"]

    def check(self) -> None:
        """Raise BenchError when the quickstart's files are not there, or the checkout is none."""
        for path in (self.encoder, self.quickstart_corpus, *self.question_files):
            if not path.exists():
                raise BenchError(f"{path} is missing; run python -m data_prep.quickstart.")
        script = "search_r1/search/retrieval_server.py"
        if self.peer is not None and not (self.peer / script).is_file():
            raise BenchError(f"{self.peer} has no {script}; give a checkout of Search-R1.")

    def extracts(self) -> Path:
        """Put the passages of each Wikipedia extract together again; gives a corpus file."""
        target = self.folder / "extracts.jsonl"
        if not target.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            whole: dict[str, dict[str, str]] = {}
            for line in read_corpus(self.quickstart_corpus):
                passage = line.passage
                article = passage.id.partition("-")[0]
                if article in whole:
                    whole[article]["text"] += " " + passage.text
                else:
                    row = {"id": article, "title": passage.title, "text": passage.text}
                    whole[article] = row
            write_lines(target, whole.values())
        return target

    def index(self, corpus: Path, name: str, *flags: str) -> Path:
        """Build an index by the command, unless one of this corpus is there already.

        Args:
            corpus: JSONL file.
            name: Folder below ``folder``.
            flags: Of ``retriever.build``.
        """
        target = self.folder / name
        if not is_current(target, corpus):
            shutil.rmtree(target, ignore_errors=True)
            build(corpus, target, *flags)
        return target

    def dense_index(self, corpus: Path, name: str, kind: str = "flat", *flags: str) -> Path:
        """Build a dense index with the encoder, unless it is there already."""
        return self.index(corpus, name, "--kind", kind, "--encoder", str(self.encoder), *flags)


def build(corpus: Path, target: Path, *flags: str) -> None:
    """Run ``retriever.build`` to its end.

    Raises:
        BenchError: If it fails; the message has the end of what it said.
    """
    command = [sys.executable, "-m", "retriever.build", "--corpus", str(corpus)]
    command += ["--index", str(target), *flags]
    say(f"  building {target.name}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def say(line: str) -> None:
    """Tell a waiting person how far the bench is."""
    sys.stderr.write(line + "\n")


def write_lines(target: Path, rows: Iterable[object]) -> None:
    """Write rows as JSON lines, under another name first."""
    aside = target.with_suffix(".part")
    with aside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    aside.replace(target)


def write_faiss_flat(vectors: NDArray[np.float32], file: Path) -> Path:
    """Write an exact FAISS index, the kind that Search-R1's server reads."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    faiss.write_index(index, str(file))
    return file


def is_current(index: Path, corpus: Path) -> bool:
    """Tell whether an index of this very corpus is there."""
    try:
        return read_manifest(index).corpus == hash_file(corpus)
    except RetrievalError:
        return False
