"""From candidates to the two halves of the mix: labelled, found in the index, split, counted."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.knowledge.candidates import Candidate, holds_answer
from data_prep.knowledge.labels import BIAS, KNOWN, RULE, UNKNOWN, label_candidates
from data_prep.knowledge.mix import ANSWER_SHARE, balance_answers, split_by_entity, spread
from data_prep.knowledge.samples import read_samples
from data_prep.overlap import question_key
from data_prep.questions import Question
from retriever.types import Retriever

_BATCH = 256
Labelled = tuple[str, Question]  # (data source, question)


@dataclass(frozen=True)
class KnowledgeQuestions:
    """Known and unknown questions of each split, as many of the one as of the other."""

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
        retriever: The open index; the passage of an unknown question must be its query's first hit.
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
    by_label: dict[str, dict[str, list[Labelled]]] = {KNOWN: {}, UNKNOWN: {}}
    for candidate in candidates:
        sources = by_label[candidate.question.knowledge]
        sources.setdefault(candidate.source, []).append((candidate.source, candidate.question))
    count = min(sum(len(items) for items in sources.values()) for sources in by_label.values())
    return {label: spread(sources, count, sampler) for label, sources in by_label.items()}


def _first_asked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keep the first of equal questions."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(question_key(candidate.question.text), candidate)
    return list(first.values())


def _findable(
    candidates: Sequence[Candidate], retriever: Retriever
) -> tuple[list[Candidate], dict[str, dict[str, float]]]:
    """Drop unknown questions whose query does not find their passage first.

    Returns:
        What is left, and the share of questions with an answer in the first hit, by label, of the
        query and of the question itself as query.
    """
    by_query = _first_hits([c.question.query for c in candidates], retriever)
    by_question = _first_hits([c.question.text for c in candidates], retriever)
    asked: Counter[str] = Counter()
    right: dict[str, Counter[str]] = {"query": Counter(), "question": Counter()}
    kept: list[Candidate] = []
    for candidate, (query_id, query_text), (_, text) in zip(
        candidates, by_query, by_question, strict=True
    ):
        question, label = candidate.question, candidate.question.knowledge
        asked[label] += 1
        right["query"][label] += holds_answer(query_text, question.gold_answers)
        right["question"][label] += holds_answer(text, question.gold_answers)
        passage = candidate.passage
        is_found = passage is not None and passage.id == query_id
        # As it stands, so that it can be copied.
        is_stated = any(answer in query_text for answer in question.gold_answers)
        if label == KNOWN or (is_found and is_stated):
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
