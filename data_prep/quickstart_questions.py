"""The quickstart's question files.

``train`` and ``test`` mix questions that the policy knows, questions it cannot know, and NQ and
TriviaQA (train from dev, test from test), which have files of their own besides; the files of the
proof add questions that take two searches.
"""

import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.answerable import answerable_questions
from data_prep.assets import read_member
from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.labels import RULE
from data_prep.knowledge.mix import CYCLES, interleave
from data_prep.knowledge.questions import Labelled, choose_knowledge_questions
from data_prep.knowledge.samples import AGAIN
from data_prep.overlap import check_disjoint, drop_repeats, question_keys
from data_prep.questions import Question, read_topics, usable_answers
from data_prep.rows import make_rows, write_rows
from data_prep.sources import Asset
from data_prep.steps import (
    RECEIPT_NAME,
    DataPrepError,
    is_current,
    new_folder,
    say,
    sha256_of,
    write_receipt,
)
from retriever.errors import RetrievalError
from retriever.evaluate.quality import MIN_CHARS
from retriever.indexes.kinds import open_retriever
from retriever.types import Retriever
from search_r1.prompts import build_prompt

TRAIN_TOPICS = {"nq": "nq.dev", "triviaqa": "dpr.trivia.dev"}
TEST_TOPICS = {"nq": "nq.test", "triviaqa": "dpr.trivia.test"}
FILES = {
    "train": "train.parquet",
    "test": "test.parquet",
    "train_proof": "train_proof.parquet",
    "test_proof": "test_proof.parquet",
    "train_real": "train_nq_triviaqa.parquet",
    "test_real": "test_nq_triviaqa.parquet",
    "unfiltered": "test_unfiltered.parquet",
}


@dataclass(frozen=True)
class QuestionOptions:
    """What decides the content of the question files, besides the index."""

    prompt_name: str = "bare"
    top_k: int = 1  # hits a gold answer must stand in; a 135M model needs it in the first
    unfiltered: int = 500  # test questions sampled without a filter, per data source
    seed: int = 0  # of the order and of the sample


@dataclass(frozen=True)
class Topics:
    """All questions of one data source, tidied, before any filter."""

    train: list[Question]
    test: list[Question]
    counts: dict[str, int]


def read_all_topics(asset: Asset, wheel: Path) -> dict[str, Topics]:
    """Read train and test questions of every data source out of the pyserini wheel."""
    (member,) = asset.members
    jar = io.BytesIO(read_member(asset, wheel, member))  # 142 MB, for a moment
    train = {source: read_topics(jar, name) for source, name in TRAIN_TOPICS.items()}
    test = {source: read_topics(jar, name) for source, name in TEST_TOPICS.items()}
    return tidy_topics(train, test)


def tidy_topics(
    train: Mapping[str, Sequence[Question]], test: Mapping[str, Sequence[Question]]
) -> dict[str, Topics]:
    """Drop unusable answers, repeated questions, and train questions that are test questions.

    Test questions of every data source count for train questions of every other one.
    """
    tidied: dict[str, Topics] = {}
    taken_test: set[str] = set()
    all_test_keys = question_keys(question for items in test.values() for question in items)
    taken_train = set(all_test_keys)
    for source in train:
        usable_test = drop_repeats(_with_usable_answers(test[source]), taken_test)
        usable_train = _with_usable_answers(train[source])
        in_test = question_keys(usable_train) & all_test_keys
        kept_train = drop_repeats(usable_train, taken_train)
        taken_test |= question_keys(usable_test)
        taken_train |= question_keys(kept_train)
        counts = {
            "train_in_file": len(train[source]),
            "train_also_in_test_removed": len(in_test),
            "train_after_removing_repeats": len(kept_train),
            "test_in_file": len(test[source]),
            "test_after_removing_repeats": len(usable_test),
        }
        tidied[source] = Topics(kept_train, usable_test, counts)
    return tidied


@dataclass(frozen=True)
class QuestionParts:
    """What the question files are made from."""

    asset: Asset  # its one member is the Anserini jar
    wheel: Path  # the verified wheel of it
    index: Path  # of the quickstart; it does the filtering
    tokenizer_file: Path  # tokenizer.json of the policy, to measure question lengths
    candidates: Callable[[], Sequence[Candidate]]  # read when they are needed
    candidate_inputs: Mapping[str, str]  # what they are read from
    samples_file: Path  # what the policy answered to them without search
    origins: Sequence[Mapping[str, str]]  # packages with licence and attribution


def make_questions(parts: QuestionParts, target: Path, options: QuestionOptions) -> bool:
    """Write the files of ``FILES`` into ``target``, a folder that is replaced as a whole.

    Returns:
        False when the files were there already, made from the same parts and options.
    """
    if not parts.samples_file.is_file():
        raise DataPrepError(f"no samples of the policy at {parts.samples_file}; {AGAIN}.")
    inputs = _inputs(parts, options)
    if is_current(target, inputs):
        return False
    sampler = random.Random(options.seed)
    topics = read_all_topics(parts.asset, parts.wheel)
    retriever = _open(parts.index)
    try:
        chosen, counts = _choose(topics, retriever, options, sampler)
        knowledge = choose_knowledge_questions(
            parts.candidates(), parts.samples_file, retriever, _asked(topics), options.seed
        )
    finally:
        retriever.close()
    for split in ("train_real", "test_real", "unfiltered"):
        # Mixed, so that the first N rows are a random sample of both data sources.
        sampler.shuffle(chosen[split])
    for split, halves in (("train", knowledge.train), ("test", knowledge.test)):
        pools = {**halves, "real": chosen[f"{split}_real"]}
        for name, cycles in CYCLES.items():
            chosen[f"{split}{name}"] = interleave(pools, cycles[split])
    facts = {
        "origins": list(parts.origins),
        **_origin(options),
        "counts": counts,
        "knowledge": knowledge.facts,
        "question_tokens": _token_lengths(chosen, parts.tokenizer_file),
    }
    with new_folder(target) as folder:
        _write_files(chosen, folder, options)
        write_receipt(folder, inputs, facts)
    return True


def _inputs(parts: QuestionParts, options: QuestionOptions) -> dict[str, Any]:
    """Gather what decides the files, for their receipt."""
    return {
        "wheel_sha256": parts.asset.sha256,
        "index_sha256": sha256_of(parts.index / RECEIPT_NAME),
        "samples_sha256": sha256_of(parts.samples_file),
        "candidates": dict(parts.candidate_inputs),
        # Changes whenever the wording of the prompt does.
        "prompt": build_prompt(options.prompt_name, "QUESTION?"),
        "options": asdict(options),
        "labels": RULE,
        "mixes": {
            name: {split: list(kinds) for split, kinds in cycles.items()}
            for name, cycles in CYCLES.items()
        },
        "questions_version": 4,
    }


def _open(index: Path) -> Retriever:
    try:
        return open_retriever(index)
    except RetrievalError as error:
        raise DataPrepError(str(error)) from error


def _choose(
    topics: Mapping[str, Topics],
    retriever: Retriever,
    options: QuestionOptions,
    sampler: random.Random,
) -> tuple[dict[str, list[Labelled]], dict[str, dict[str, int]]]:
    """Filter and sample; returns the questions of each file, and the counts of each source."""
    chosen: dict[str, list[Labelled]] = {"train_real": [], "test_real": [], "unfiltered": []}
    counts: dict[str, dict[str, int]] = {}
    for source, topic in topics.items():
        say(f"  {source}: searching {len(topic.train)} train and {len(topic.test)} test questions")
        train = answerable_questions(topic.train, retriever, options.top_k)
        test = answerable_questions(topic.test, retriever, options.top_k)
        sample = sampler.sample(topic.test, min(options.unfiltered, len(topic.test)))
        for split, questions in zip(chosen, (train, test, sample), strict=True):
            chosen[split] += [(source, _with_query(question)) for question in questions]
        counts[source] = {
            **topic.counts,
            "train_answerable": len(train),
            "test_answerable": len(test),
            "test_unfiltered_sample": len(sample),
        }
        say(f"  {source}: {len(train)} train and {len(test)} test questions are answerable")
    return chosen, counts


def _with_usable_answers(questions: Sequence[Question]) -> list[Question]:
    tidied = [Question(q.id, q.text, usable_answers(q.gold_answers)) for q in questions]
    return [question for question in tidied if question.gold_answers]


def _with_query(question: Question) -> Question:
    return replace(question, queries=(question.text.rstrip("? "),))


def _asked(topics: Mapping[str, Topics]) -> set[str]:
    """Keys of all questions of NQ and TriviaQA, train and test."""
    return {key for topic in topics.values() for key in question_keys([*topic.train, *topic.test])}


def _write_files(
    chosen: Mapping[str, list[Labelled]], folder: Path, options: QuestionOptions
) -> None:
    for split, items in chosen.items():
        name = "train" if split.startswith("train") else "test"
        write_rows(make_rows(items, name, options.prompt_name), folder / FILES[split])
    for train in ("train", "train_proof", "train_real"):
        for test in ("test", "test_proof", "test_real", "unfiltered"):
            texts = [[question.text for _, question in chosen[split]] for split in (train, test)]
            check_disjoint(*texts)


def _origin(options: QuestionOptions) -> dict[str, Any]:
    return {
        "sources": {
            "train": [f"topics.{name}.txt" for name in TRAIN_TOPICS.values()],
            "test": [f"topics.{name}.txt" for name in TEST_TOPICS.values()],
        },
        "answerable_filter": {
            "rule": "a normalised gold answer stands, as whole words, in the title or text of a "
            "hit, with the question itself as query; answers of fewer than "
            f"{MIN_CHARS} characters, and answers that stand in the question, do not count",
            "top_k": options.top_k,
            "files": [FILES["train_real"], FILES["test_real"]],
            "bias": "The retriever under test did the filtering, so scores on these files favour "
            f"it. Report {FILES['unfiltered']} (no filter) beside them.",
        },
    }


def _token_lengths(
    chosen: Mapping[str, Sequence[Labelled]], tokenizer_file: Path
) -> dict[str, dict[str, int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    lengths: dict[str, dict[str, int]] = {}
    for split, items in chosen.items():
        encoded = tokenizer.encode_batch([question.text for _, question in items])
        counts = sorted(len(item.ids) for item in encoded) or [0]
        lengths[split] = {
            "p50": counts[len(counts) // 2],
            "p90": counts[len(counts) * 9 // 10],
            "max": counts[-1],
        }
    return lengths
