"""Known or unknown: what the policy's samples say of a question, and of a source as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.samples import AGAIN, Answers
from data_prep.steps import DataPrepError
from search_r1.answers import exact_match

KNOWN = "known"
UNKNOWN = "unknown"
TWO_HOP = "two_hop"  # unknown, and one search does not find the answer
# A source is what most of its questions are; which of them stay is decided one by one.
KNOWN_SOURCE = 0.5  # of a source's greedy answers that must be right
UNKNOWN_SOURCE = 0.2  # and may be
RULE = (
    "A question is known when the greedy answer and every sample are right (EM), unknown when "
    "they are all wrong; what lies between is dropped. "
    f"A source is known when at least {KNOWN_SOURCE:.0%} of its greedy answers are "
    f"right, unknown when at most {UNKNOWN_SOURCE:.0%} are; other sources, and questions whose "
    "label is not their source's, are dropped."
)
BIAS = (
    "The questions were chosen by this policy's own answers: known and unknown hold of it alone, "
    "and its accuracy without search on either half says nothing about what it knows at large."
)


@dataclass
class Tally:
    """How a source's questions were labelled."""

    label: str = ""  # of the source; "" when it is neither and dropped
    candidates: int = 0
    greedy_right: int = 0
    known: int = 0
    unknown: int = 0

    @property
    def greedy_share(self) -> float:
        """Share of the questions whose greedy answer is right."""
        return self.greedy_right / self.candidates


def label_question(answers: Answers, gold_answers: Sequence[str]) -> str:
    """Give ``known``, ``unknown``, or an empty string for what lies between."""
    given = (answers.greedy, *answers.sampled)
    right = [exact_match(each, gold_answers) == 1.0 for each in given]
    if all(right):
        return KNOWN
    return "" if any(right) else UNKNOWN


def label_candidates(
    candidates: Sequence[Candidate], samples: Mapping[tuple[str, str], Answers]
) -> tuple[list[Candidate], dict[str, dict[str, Any]]]:
    """Keep the candidates whose label is their source's, labelled; count every source.

    Raises:
        DataPrepError: If a candidate was never sampled.
    """
    tallies: dict[str, Tally] = {}
    labelled: list[Candidate] = []
    for candidate in candidates:
        question = candidate.question
        answers = samples.get((candidate.source, question.text))
        if answers is None:
            raise DataPrepError(
                f"the policy was never asked {question.text!r} ({candidate.source}); every "
                f"candidate needs its samples: {AGAIN}."
            )
        label = label_question(answers, question.gold_answers)
        tally = tallies.setdefault(candidate.source, Tally())
        tally.candidates += 1
        tally.greedy_right += exact_match(answers.greedy, question.gold_answers) == 1.0
        tally.known += label == KNOWN
        tally.unknown += label == UNKNOWN
        labelled.append(replace(candidate, question=replace(question, knowledge=label)))
    for tally in tallies.values():
        tally.label = _source_label(tally.greedy_share)
    kept = [
        _tell_two_hop(candidate)
        for candidate in labelled
        if candidate.question.knowledge
        and candidate.question.knowledge == tallies[candidate.source].label
    ]
    return kept, {source: asdict(tally) for source, tally in tallies.items()}


def _tell_two_hop(candidate: Candidate) -> Candidate:
    question = candidate.question
    if question.knowledge == UNKNOWN and len(question.queries) > 1:
        return replace(candidate, question=replace(question, knowledge=TWO_HOP))
    return candidate


def _source_label(greedy_share: float) -> str:
    if greedy_share >= KNOWN_SOURCE:
        return KNOWN
    return UNKNOWN if greedy_share <= UNKNOWN_SOURCE else ""
