"""Questions that take two searches: a passage names a country, and another tells of the country."""

from collections import Counter
from collections.abc import Sequence

from data_prep.knowledge.candidates import Candidate, Kind, holds_answer
from data_prep.knowledge.facts import HIGHEST_POINT, INTERNET_CODE, SMALL_CAPITAL
from data_prep.questions import Question

PEAK_CODE = Kind(
    "two_hop_peak_code",
    "what is the internet country code of the country whose highest point is {}?",
    "country whose highest point is {}",
    (("Mont Blanc", ".fr"), ("Mount Fuji", ".jp")),
)
CAPITAL_CODE = Kind(
    "two_hop_capital_code",
    "what is the internet country code of the country whose capital is {}?",
    "country whose capital is {}",
    (("Paris", ".fr"), ("Tokyo", ".jp")),
)
CODE_PEAK = Kind(
    "two_hop_code_peak",
    "what is the highest point of the country whose internet country code is {}?",
    "country whose internet country code is {}",
    ((".fr", "Mont Blanc"), (".jp", "Mount Fuji")),
)
TWO_HOP_KINDS = (PEAK_CODE, CAPITAL_CODE, CODE_PEAK)


def two_hop_candidates(countries: Sequence[Candidate]) -> list[Candidate]:
    """Join questions about countries: from the answer to one, by the country, to another's answer.

    Args:
        countries: Questions whose one entity is a country; those with a passage are joined.
    """
    peaks, codes, capitals = (
        [each for each in countries if each.source == kind.source and each.passages]
        for kind in (HIGHEST_POINT, INTERNET_CODE, SMALL_CAPITAL)
    )
    return [
        *_join(PEAK_CODE, peaks, codes),
        *_join(CAPITAL_CODE, capitals, codes),
        *_join(CODE_PEAK, codes, peaks),
    ]


def _join(kind: Kind, firsts: Sequence[Candidate], seconds: Sequence[Candidate]) -> list[Candidate]:
    by_country = {each.entities: each for each in seconds}
    times = Counter(each.question.gold_answers[0] for each in firsts)
    shown = {subject for subject, _ in kind.examples}
    joined: list[Candidate] = []
    for number, first in enumerate(firsts):
        subject = first.question.gold_answers[0]
        second = by_country.get(first.entities)
        if second is None or subject in shown or times[subject] > 1:
            continue
        text, answers = kind.question.format(subject), second.question.gold_answers
        # Otherwise the question, or its first passage, would do.
        if holds_answer(f"{text} {first.passages[0].text}", answers):
            continue
        queries = (kind.query.format(subject), *second.question.queries)
        question = Question(f"{kind.source}-{number:04d}", text, answers, queries=queries)
        passages = (*first.passages, *second.passages)
        joined.append(Candidate(kind.source, question, first.entities, passages))
    return joined
