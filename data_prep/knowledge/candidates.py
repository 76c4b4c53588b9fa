"""What a question of the mix is before anybody asked the policy: text, answers, entities, fact."""

from collections.abc import Sequence
from dataclasses import dataclass

from contract.answers import normalize_answer
from data_prep.passages import CorpusPassage
from data_prep.questions import Question, usable_answers


@dataclass(frozen=True)
class Kind:
    """Questions of one form; its name is their data source."""

    source: str
    question: str  # with {} for the subject; ends in "?"
    query: str  # with {} for the subject
    examples: tuple[tuple[str, str], tuple[str, str]]  # (subject, answer), shown before sampling


@dataclass(frozen=True)
class Candidate:
    """One question of a kind, with the passages that the corpus is to hold for it.

    There is one for each of the question's queries, which must find it first; the last one states
    the answer. There is none where the corpus need not say it.
    """

    source: str
    question: Question
    entities: tuple[str, ...]  # what must not be on both sides of train and test
    passages: tuple[CorpusPassage, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A subject, what holds of it, and the sentence that says so."""

    subject: str
    gold_answers: tuple[str, ...]
    entities: tuple[str, ...]
    title: str = ""
    text: str = ""  # empty: the corpus does not say it


def make_candidates(kind: Kind, facts: Sequence[Fact]) -> list[Candidate]:
    """Ask each fact as a question of this kind; ids are ``source-0000`` in the order of facts.

    Left out are the kind's own examples, and questions that hold their answer.
    """
    shown = {subject for subject, _ in kind.examples}
    candidates: list[Candidate] = []
    for number, fact in enumerate(facts):
        name = f"{kind.source}-{number:04d}"
        text = kind.question.format(fact.subject)
        answers = usable_answers(fact.gold_answers)
        if fact.subject in shown or not answers or holds_answer(text, answers):
            continue
        question = Question(name, text, answers, queries=(kind.query.format(fact.subject),))
        passages = (CorpusPassage(name, fact.title, fact.text),) if fact.text else ()
        candidates.append(Candidate(kind.source, question, fact.entities, passages))
    return candidates


def holds_answer(text: str, gold_answers: Sequence[str]) -> bool:
    """True when a gold answer stands in the text as whole words, however short it is."""
    padded = f" {normalize_answer(text)} "
    return any(f" {normalize_answer(answer)} " in padded for answer in gold_answers)
