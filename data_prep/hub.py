"""Question sets in the shape of RUC-NLPIR/FlashRAG_datasets, from the hub or from a file.

A row has ``question`` and ``golden_answers`` (a list of strings), often ``id`` and
``metadata``. ``data_prep.nq`` and ``data_prep.hotpotqa`` are this command with a set filled in.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.overlap import check_disjoint, drop_repeats, question_keys
from data_prep.questions import Question, usable_answers
from data_prep.rows import check_prompt, make_rows, read_rows, write_rows
from data_prep.steps import (
    RECEIPT_NAME,
    DataPrepError,
    read_receipt,
    run_command,
    say,
    sha256_of,
    step,
)
from search_r1.runs.places import artifacts_dir

HUB_REPO = "RUC-NLPIR/FlashRAG_datasets"
SHAPE = '{"id": "0", "question": "...", "golden_answers": ["..."]}'


@dataclass(frozen=True)
class HubSet:
    """One question set of the hub repository."""

    name: str  # configuration on the hub, and data_source of the rows
    splits: tuple[str, ...]  # splits that have answers; train first, then the one to evaluate on
    license: str
    attribution: str


def load_hub_rows(hub_set: HubSet, split: str, repo: str = HUB_REPO) -> Iterator[Mapping[str, Any]]:
    """Yield the raw rows of one split, downloading it on first use into the hub's own cache."""
    import datasets

    try:
        rows = datasets.load_dataset(repo, hub_set.name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataPrepError(
            f"cannot load {hub_set.name}/{split} from {repo}: {reason}. Check the network "
            "(HF_ENDPOINT chooses a mirror), or download the file elsewhere and pass it with "
            "--input FILE."
        ) from error
    yield from rows


def read_file_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield ``(place, raw row)`` of a .jsonl or .parquet file; place names file and line."""
    if not path.is_file():
        raise DataPrepError(f"no file at {path}; --input expects .jsonl or .parquet.")
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
    elif path.suffix in (".jsonl", ".json"):
        yield from _read_jsonl(path)
    else:
        raise DataPrepError(f"{path} ends in {path.suffix!r}; --input expects .jsonl or .parquet.")


def parse_questions(
    rows: Iterable[tuple[str, Mapping[str, Any]]], name: str, is_published: bool = False
) -> list[Question]:
    """Check raw rows and turn them into questions.

    A question whose answers all normalise to nothing (``A``) is left out: none could be right.

    Args:
        rows: ``(place, raw row)``; the place goes into error messages.
        name: Where the rows come from, for the error about an empty source.
        is_published: Keep all questions and answers: a published set has its size with those that
            nothing answers.

    Raises:
        DataPrepError: At the first row that cannot be used, or when there is none.
    """
    questions = [_parse_row(place, row, n) for n, (place, row) in enumerate(rows)]
    if is_published:
        return questions
    questions = [replace(q, gold_answers=usable_answers(q.gold_answers)) for q in questions]
    usable = [question for question in questions if question.gold_answers]
    if left_out := len(questions) - len(usable):
        say(f"{name}: {left_out} question(s) left out, whose answers normalise to nothing")
    if not usable:
        raise DataPrepError(f"{name} holds no question; expected rows like {SHAPE}.")
    return usable


def prepare(hub_set: HubSet, parsed: argparse.Namespace) -> None:
    """Read, check, and write one parquet file per split."""
    check_prompt(parsed.prompt)
    if parsed.limit is not None and parsed.limit < 1:
        raise DataPrepError(f"--limit is {parsed.limit}; expected 1 or more.")
    splits = (parsed.split,) if parsed.split else hub_set.splits
    if parsed.input and not parsed.split:
        splits = (hub_set.splits[0],)
    loaded: dict[str, list[Question]] = {}
    for split in splits:
        with step(f"reading {hub_set.name} {split}"):
            loaded[split] = _load_split(hub_set, split, parsed.input)
    taken = {key for path in parsed.exclude for key in _excluded_keys(path)}
    kept = separate_splits(loaded, taken)
    limited = {split: questions[: parsed.limit] for split, questions in kept.items()}
    labelled = _labelled(hub_set, parsed)
    out = parsed.out or artifacts_dir() / "questions" / labelled.name
    _write_splits(labelled, limited, parsed.prompt, out)
    for split, questions in limited.items():
        removed = len(loaded[split]) - len(kept[split])
        say(
            f"{out / (split + '.parquet')}: {len(questions)} rows of {labelled.name} "
            f"({removed} repeats removed)"
        )


def _labelled(hub_set: HubSet, parsed: argparse.Namespace) -> HubSet:
    """Say whose questions these are: a file's are its own unless they are said to be the set's."""
    name = parsed.source or (parsed.input.stem if parsed.input else hub_set.name)
    if name == hub_set.name:
        return hub_set
    origin = f"Read from {parsed.input.name}." if parsed.input else hub_set.attribution
    return HubSet(name, hub_set.splits, "unknown", origin)


def separate_splits(
    loaded: Mapping[str, Sequence[Question]], taken: Iterable[str] = ()
) -> dict[str, list[Question]]:
    """Drop repeats within a split, and from train whatever the other splits or ``taken`` hold."""
    other_keys = {
        key for split, items in loaded.items() if split != "train" for key in question_keys(items)
    }
    kept: dict[str, list[Question]] = {}
    for split, questions in loaded.items():
        kept[split] = drop_repeats(questions, other_keys | set(taken) if split == "train" else ())
        if not kept[split]:
            raise DataPrepError(f"no question of {split} is left after removing test questions.")
    return kept


def run(hub_set: HubSet, arguments: list[str] | None = None) -> int:
    """Command line of one set."""
    parser = argparse.ArgumentParser(
        prog=f"python -m data_prep.{hub_set.name}",
        description=f"Write {hub_set.name} as questions files: {', '.join(hub_set.splits)}.",
    )
    add = parser.add_argument
    add("--input", type=Path, help=f"local .jsonl or .parquet instead of {HUB_REPO}")
    add("--split", help="only this split; with --input, what the file is (default: train)")
    add("--source", help=f"data_source of the rows (default: {hub_set.name}, or the file's name)")
    add("--out", type=Path, help="folder to write to (default: artifacts/questions/SOURCE)")
    add("--prompt", default="search_r1", help="prompt to put questions into (default: search_r1)")
    add("--limit", type=int, help="keep the first N questions of each split")
    add("--exclude", type=Path, action="append", default=[], metavar="FILE",
        help="questions file whose questions must not be in train; may be repeated")  # fmt: skip
    parsed = parser.parse_args(arguments)
    return run_command(lambda: prepare(hub_set, parsed))


def _load_split(hub_set: HubSet, split: str, local: Path | None) -> list[Question]:
    if local is not None:
        return parse_questions(read_file_rows(local), str(local))
    rows = load_hub_rows(hub_set, split)
    name = f"{HUB_REPO} {hub_set.name}/{split}"
    return parse_questions(((f"{name} row {n}", row) for n, row in enumerate(rows)), name)


def _read_jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataPrepError(
                    f"{place}: not valid JSON ({error}); expected {SHAPE}."
                ) from error
            if not isinstance(row, dict):
                raise DataPrepError(f"{place}: a JSON {type(row).__name__}; expected {SHAPE}.")
            yield place, row


def _read_parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataPrepError(f"{path} is not a readable parquet file ({reason}).") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path} row {number}", row


def _parse_row(place: str, row: Mapping[str, Any], number: int) -> Question:
    for column in ("question", "golden_answers"):
        if column not in row:
            found = ", ".join(sorted(row)) or "none"
            raise DataPrepError(
                f"{place}: no column {column!r} (columns: {found}); expected {SHAPE}."
            )
    text, answers = row["question"], row["golden_answers"]
    if not isinstance(text, str) or not text.strip():
        raise DataPrepError(f"{place}: question is {text!r}; expected a non-empty string.")
    is_list = isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)
    if not is_list or not any(answer.strip() for answer in answers):
        raise DataPrepError(
            f"{place}: golden_answers is {answers!r}; expected a list with at least one answer. "
            "Remove questions without answers."
        )
    kept = tuple(answer for answer in answers if answer.strip())
    return Question(id=str(row.get("id", number)), text=text.strip(), gold_answers=kept)


def _excluded_keys(path: Path) -> set[str]:
    if not path.is_file():
        raise DataPrepError(f"no questions file at {path}; --exclude expects a .parquet file.")
    texts = [row["extra_info"]["question"] for row in read_rows(path)]
    return question_keys(Question("", text, ()) for text in texts)


def _write_splits(
    hub_set: HubSet, splits: Mapping[str, Sequence[Question]], prompt_name: str, out: Path
) -> None:
    """Write all splits aside, then put them in place, keeping other files of the folder."""
    for train, other in itertools.product(("train",), set(splits) - {"train"}):
        check_disjoint(
            [question.text for question in splits.get(train, ())],
            [question.text for question in splits[other]],
        )
    out.mkdir(parents=True, exist_ok=True)
    receipt = read_receipt(out)
    with tempfile.TemporaryDirectory(dir=out, prefix=".partial-") as aside:
        for split, questions in splits.items():
            target = Path(aside) / f"{split}.parquet"
            rows = make_rows([(hub_set.name, item) for item in questions], split, prompt_name)
            write_rows(rows, target)
            receipt[target.name] = {
                "rows": len(rows),
                "prompt_name": prompt_name,
                "license": hub_set.license,
                "attribution": hub_set.attribution,
                "sha256": sha256_of(target),
            }
        text = json.dumps(receipt, indent=2, ensure_ascii=False) + "\n"
        (Path(aside) / RECEIPT_NAME).write_text(text, encoding="utf-8")
        for path in sorted(Path(aside).iterdir()):
            path.replace(out / path.name)
