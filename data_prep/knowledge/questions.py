"""From candidates to the parts of the mix: labelled, found in the index, split, counted."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.knowledge.candidates import Candidate, holds_answer
from data_prep.knowledge.labels import BIAS, KNOWN, RULE, TWO_HOP, UNKNOWN, label_candidates
from data_prep.knowledge.mix import ANSWER_SHARE, balance_answers, split_by_entity, spread
from data_prep.knowledge.samples import read_samples
from data_prep.overlap import question_key
from data_prep.questions import Question
from retriever.types import Retriever

_BATCH = 256
Labelled = tuple[str, Question]  # (data source, question)


@dataclass(frozen=True)
class KnowledgeQuestions:
    """Questions of each split: as many known as unknown ones, and all that take two searches."""

    train: dict[str, list[Labelled]]  # label -> questions in random order
    test: dict[str, list[Labelled]]
    facts: dict[str, Any]  # rules, counts and rates for the receipt


def choose_knowledge_questions(
    candidates: Sequence[Candidate],
    samples_file: Path,
    retriever: Retriever,
    taken: set[str],
    seed: int,
) -> KnowledgeQuestions:
    """Label, check against the index, balance and split.

    Args:
        candidates: Every question that was sampled.
        samples_file: What the policy answered without search.
        retriever: The open index; the passages of an unknown question must be the first hits of
            its queries.
        taken: Keys of questions that another data source already asks.
        seed: Of the split and of the order.
    """
    sampling, samples = read_samples(samples_file)
    labelled, tallies = label_candidates(candidates, samples)
    free = _first_asked([c for c in labelled if question_key(c.question.text) not in taken])
    found, rates = _findable(free, retriever)
    kept = balance_answers(found)
    train, test = split_by_entity(kept, seed)
    sampler = random.Random(seed)
    chosen = {"train": _halves(train, sampler), "test": _halves(test, sampler)}
    for split, candidates_of in (("train", train), ("test", test)):
        two_hop = _by_source(candidates_of, TWO_HOP)
        number = sum(len(items) for items in two_hop.values())
        chosen[split][TWO_HOP] = spread(two_hop, number, random.Random(seed))
    for source, tally in tallies.items():
        tally["kept"] = sum(candidate.source == source for candidate in kept)
        for split, halves in chosen.items():
            tally[split] = sum(name == source for half in halves.values() for name, _ in half)
    facts = {
        "rule": RULE,
        "bias": BIAS,
        "sampling": vars(sampling),
        "split": "by entity (word, country, laureate), across sources",
        "largest_share_of_an_answer": ANSWER_SHARE,
        "counts": tallies,
        "hits": rates,
    }
    return KnowledgeQuestions(chosen["train"], chosen["test"], facts)


def _halves(candidates: Sequence[Candidate], sampler: random.Random) -> dict[str, list[Labelled]]:
    by_label = {label: _by_source(candidates, label) for label in (KNOWN, UNKNOWN)}
    count = min(sum(len(items) for items in sources.values()) for sources in by_label.values())
    return {label: spread(sources, count, sampler) for label, sources in by_label.items()}


def _by_source(candidates: Sequence[Candidate], label: str) -> dict[str, list[Labelled]]:
    sources: dict[str, list[Labelled]] = {}
    for candidate in candidates:
        if candidate.question.knowledge == label:
            sources.setdefault(candidate.source, []).append((candidate.source, candidate.question))
    return sources


def _first_asked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keep the first of equal questions."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(question_key(candidate.question.text), candidate)
    return list(first.values())


def _findable(
    candidates: Sequence[Candidate], retriever: Retriever
) -> tuple[list[Candidate], dict[str, dict[str, float]]]:
    """Drop unknown questions whose queries do not find their passages first.

    Two-hop questions that find an answer by themselves, or by their first query, go too.

    Returns:
        What is left, and the share of questions with an answer in the first hit, by label, of the
        last query and of the question itself as query.
    """
    queries = [query for each in candidates for query in each.question.queries]
    by_query = dict(zip(queries, _first_hits(queries, retriever), strict=True))
    by_question = _first_hits([each.question.text for each in candidates], retriever)
    asked: Counter[str] = Counter()
    right: dict[str, Counter[str]] = {"query": Counter(), "question": Counter()}
    kept: list[Candidate] = []
    for candidate, (_, text) in zip(candidates, by_question, strict=True):
        question, label = candidate.question, candidate.question.knowledge
        *before, last = (by_query[query] for query in question.queries)
        too_early = [text, *(passage for _, passage in before)] if label == TWO_HOP else []
        asked[label] += 1
        right["query"][label] += holds_answer(last[1], question.gold_answers)
        right["question"][label] += holds_answer(text, question.gold_answers)
        found = [name for name, _ in (*before, last)]
        is_found = found == [passage.id for passage in candidate.passages]
        # As it stands, so that it can be copied.
        is_stated = any(answer in last[1] for answer in question.gold_answers)
        is_early = any(holds_answer(each, question.gold_answers) for each in too_early)
        if label == KNOWN or (is_found and is_stated and not is_early):
            kept.append(candidate)
    rates = {
        label: {
            f"answer_in_hit_1_of_{way}": hits[label] / asked[label] for way, hits in right.items()
        }
        for label in asked
    }
    return kept, rates


def _first_hits(queries: Sequence[str], retriever: Retriever) -> list[tuple[str, str]]:
    """Give id and text of each query's first hit; empty strings where there is none."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(queries), _BATCH):
        for hits in retriever.search(list(queries[start : start + _BATCH]), 1):
            found.append((hits[0].passage.id, hits[0].passage.text) if hits else ("", ""))
    return found
