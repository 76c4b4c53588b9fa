"""Cut the packaged Wikipedia lead extracts into short passages that stand on their own."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.steps import DataPrepError

# A word before a full stop that does not end a sentence.
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st mt ft jr sr vs etc lit fl ca cf approx gen col lt sgt capt rev hon gov
    no vol op pp ed est inc ltd co corp dept univ e.g i.e a.k.a u.s u.k d.c b.c a.d
    """.split()  # noqa: SIM905
)
_OPENING = "\"'(\\[\u201c\u2018"  # quotation marks and brackets before a first word
_CLOSING = "\"')\\]\u201d\u2019"
_SENTENCE_END = re.compile(
    rf"[.!?]+[{_CLOSING}]*(?=\s+[{_OPENING}]*[A-Z0-9])"
    # A space lost where the source ended a paragraph: "great apes.The family".
    r"|(?<=[a-z])\.(?=[A-Z][a-z])"
)
_DISAMBIGUATION = re.compile(r"disambiguation|same (?:common )?(?:name|term)", re.IGNORECASE)


@dataclass(frozen=True)
class Article:
    """The lead extract of one Wikipedia article."""

    title: str
    text: str
    description: str

    @property
    def is_disambiguation(self) -> bool:
        """True for a page that only lists articles sharing a name."""
        return bool(_DISAMBIGUATION.search(self.description))


@dataclass(frozen=True)
class CorpusPassage:
    """One line of the corpus file."""

    id: str
    title: str
    text: str


def read_articles(path: Path) -> list[Article]:
    """Read the summaries file of the corpus package, in the order of the file."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [
            Article(
                title=_one_line(entry["title"]),
                text=_one_line(entry["extract"]),
                description=entry.get("description") or "",
            )
            for entry in entries.values()
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataPrepError(
            f"{path} is not a summaries file: {error!r}; expected a JSON object of entries with "
            "title and extract. Delete the downloaded package and run the command again."
        ) from error


def split_sentences(text: str) -> list[str]:
    """Split English prose at sentence ends; initials and common abbreviations do not end one."""
    sentences: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.group().startswith(".") and _is_abbreviation(text[start : match.start()]):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def cut_text(text: str, max_words: int) -> list[str]:
    """Pack whole sentences into pieces of at most ``max_words`` words.

    A single sentence that is longer stays whole, so that no piece starts mid-sentence.
    """
    pieces: list[list[str]] = []
    piece_words = 0
    for sentence in split_sentences(text):
        n_words = len(sentence.split())
        if pieces and piece_words + n_words <= max_words:
            pieces[-1].append(sentence)
            piece_words += n_words
        else:
            pieces.append([sentence])
            piece_words = n_words
    return [" ".join(piece) for piece in pieces]


def make_passages(
    articles: Sequence[Article], max_words: int, per_article: int | None
) -> Iterator[CorpusPassage]:
    """Yield the passages of all articles in order; ids are ``article-piece``, from 0.

    Args:
        articles: Disambiguation pages are skipped, and keep their number.
        max_words: Longest passage, in words; see ``cut_text``.
        per_article: Passages kept of each article, from its start; None for all.
    """
    for number, article in enumerate(articles):
        if article.is_disambiguation:
            continue
        for piece, text in enumerate(cut_text(article.text, max_words)[:per_article]):
            yield CorpusPassage(id=f"{number:05d}-{piece}", title=article.title, text=text)


def write_corpus(passages: Sequence[CorpusPassage], path: Path) -> None:
    """Write one JSON object per passage: id, title, text."""
    with path.open("w", encoding="utf-8") as stream:
        for passage in passages:
            fields = {"id": passage.id, "title": passage.title, "text": passage.text}
            stream.write(json.dumps(fields, ensure_ascii=False) + "\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_abbreviation(before: str) -> bool:
    words = before.split()
    word = words[-1].lstrip("\"'([\u201c\u2018") if words else ""
    is_initial = len(word) == 1 and word.isupper()
    return is_initial or word.lower() in _ABBREVIATIONS
