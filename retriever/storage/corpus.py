r"""Read corpora: one JSON object a line, in Search-R1's shape or in ours.

Search-R1: ``{"id": "0", "contents": "\"Title\"\nText"}``. Ours: ``{"id", "title", "text"}``. Either
may have a ``url``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from retriever.errors import CorpusError
from retriever.types import Passage

SHAPES = (
    '{"id": "7", "contents": "\\"Title\\"\\nText"} or {"id": "7", "title": "...", "text": "..."}'
)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CorpusLine:
    """One usable line: where it stood, its bytes without the line end, and what it says."""

    number: int
    raw: bytes
    passage: Passage


def parse_passage(raw: bytes) -> Passage:
    """Turn one corpus line into a passage.

    ``contents`` has a title only when its first line is in double quotes, as in Search-R1's
    corpora, so ``Passage.contents`` gives back exactly what was read.

    Raises:
        ValueError: If the line is not such an object; the message says what is wrong.
    """
    row = orjson.loads(raw)
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__} instead of an object")
    passage_id = _read_id(row)
    title, text = _read_text(row)
    if not title.strip() and not text.strip():
        raise ValueError(f"passage {passage_id!r} has neither title nor text")
    url = row.get("url")
    return Passage(passage_id, title, text, url if isinstance(url, str) else "")


def _read_id(row: dict[str, object]) -> str:
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    raise ValueError(f'"id" is {value!r} instead of a string or an integer')


def _read_text(row: dict[str, object]) -> tuple[str, str]:
    if "text" in row:
        title, text = row.get("title") or "", row["text"]
        if not isinstance(title, str) or not isinstance(text, str):
            raise ValueError('"title" and "text" must be strings')
        return title, text
    contents = row.get("contents")
    if not isinstance(contents, str):
        missing = "missing" if contents is None else f"{contents!r}, not a string"
        raise ValueError(f'no "text", and "contents" is {missing}')
    return split_contents(contents)


def split_contents(contents: str) -> tuple[str, str]:
    """Split Search-R1's ``contents`` into title and text; no quoted first line, no title."""
    first, newline, rest = contents.partition("\n")
    if newline and len(first) > 2 and first[0] == first[-1] == '"':
        return first[1:-1], rest
    return "", contents


def read_corpus(path: Path) -> Iterator[CorpusLine]:
    """Yield the passages of a JSONL file in file order, one line in memory at a time.

    Blank lines are skipped. Ids are not compared with each other here; the passage store does it.

    Raises:
        CorpusError: Naming file and line, if a line is no passage, or the file has none at all.
    """
    if not path.is_file():
        raise CorpusError(f"no corpus file at {path}; give a JSONL file with lines like {SHAPES}.")
    is_empty = True
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            raw = (line.removeprefix(_BOM) if number == 1 else line).strip()
            if not raw:
                continue
            try:
                passage = parse_passage(raw)
            except orjson.JSONDecodeError as error:
                raise _bad_line(path, number, f"not valid JSON ({error})") from error
            except ValueError as error:
                raise _bad_line(path, number, str(error)) from error
            is_empty = False
            yield CorpusLine(number, raw, passage)
    if is_empty:
        raise CorpusError(f"{path} holds no passage; expected lines like {SHAPES}.")


def _bad_line(path: Path, number: int, problem: str) -> CorpusError:
    return CorpusError(f"{path}:{number}: {problem}; expected a line like {SHAPES}.")
