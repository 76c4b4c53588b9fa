"""Questions about English words: forms from the lexicon package, pairs from ``words.json``."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from data_prep.assets import read_member
from data_prep.knowledge.candidates import Candidate, Fact, Kind, make_candidates
from data_prep.sources import Asset

WORDS_FILE = Path(str(files("data_prep.knowledge").joinpath("words.json")))


@dataclass(frozen=True)
class FormKind:
    """A kind whose answers are a form of the word in the lexicon."""

    kind: Kind
    words: str  # list of words.json
    part_of_speech: str
    place: int  # of the form among the lexicon's forms of that part of speech


FORM_KINDS = (
    FormKind(
        Kind(
            "past_tense",
            "what is the past tense of {}?",
            "past tense of {}",
            (("ask", "asked"), ("go", "went")),
        ),
        words="verbs",
        part_of_speech="verb",
        place=0,
    ),
    FormKind(
        Kind(
            "plural",
            "what is the plural of {}?",
            "plural of {}",
            (("apple", "apples"), ("foot", "feet")),
        ),
        words="nouns",
        part_of_speech="noun",
        place=0,
    ),
    FormKind(
        Kind(
            "comparative",
            "what is the comparative of {}?",
            "comparative of {}",
            (("old", "older"), ("good", "better")),
        ),
        words="adjectives",
        part_of_speech="adj",
        place=0,
    ),
)

PAIR_KINDS = {
    "opposites": Kind(
        "opposite",
        "what is the opposite of {}?",
        "opposite of {}",
        (("hot", "cold"), ("up", "down")),
    ),
    "people": Kind(
        "person_who",
        "what do you call a person who can {}?",
        "person who can {}",
        (("teach", "teacher"), ("act", "actor")),
    ),
}


WORD_KINDS = (*(form.kind for form in FORM_KINDS), *PAIR_KINDS.values())


def word_candidates(asset: Asset, wheel: Path) -> list[Candidate]:
    """Make the questions of every word kind, kind by kind, words in the order of the list."""
    (member,) = asset.members
    lexicon = read_lexicon(read_member(asset, wheel, member))
    lists = json.loads(WORDS_FILE.read_text(encoding="utf-8"))
    candidates: list[Candidate] = []
    for form in FORM_KINDS:
        facts = _form_facts(form, lists[form.words].split(), lexicon)
        candidates += make_candidates(form.kind, facts)
    for name, kind in PAIR_KINDS.items():
        facts = [
            # Both words, so that "hot" is not asked in train and "cold" in test.
            Fact(word, tuple(answers), (f"word:{word}", *(f"word:{each}" for each in answers)))
            for word, answers in lists[name].items()
        ]
        candidates += make_candidates(kind, facts)
    return candidates


def read_lexicon(packed: bytes) -> dict[tuple[str, str], list[str]]:
    """Read the inflection table: (word, part of speech) to its forms.

    A form may be several spellings with a slash between; a verb's are past tense, past participle
    (left out where it is the same in some lines), -ing form and third person.
    """
    lexicon: dict[tuple[str, str], list[str]] = {}
    for line in gzip.decompress(packed).decode("utf-8").splitlines():
        word, part_of_speech, *forms = line.split(",")
        lexicon[word, part_of_speech] = forms
    return lexicon


def _form_facts(
    form: FormKind, words: Sequence[str], lexicon: Mapping[tuple[str, str], Sequence[str]]
) -> list[Fact]:
    facts = []
    for word in words:
        forms = lexicon.get((word, form.part_of_speech))
        if forms:
            # "cloud" is also a plural of cloud where it is not counted; asked is the other one.
            spellings = tuple(
                each for each in forms[form.place].split("/") if each not in ("", word)
            )
            facts.append(Fact(word, spellings, (f"word:{word}",)))
    return facts
