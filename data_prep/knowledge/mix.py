"""Split the labelled questions by entity, and lay them beside the real ones in even order."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from contract.answers import normalize_answer
from data_prep.knowledge.candidates import Candidate

T = TypeVar("T")

TEST_SHARE = 0.22  # of the entities
ANSWER_SHARE = 0.03  # of a source's questions that may have the same answer
# As many of a train file are better answered at once as take a search: with fewer, a policy that
# searches every time is what the first steps teach.
CYCLES = {
    "": {
        "train": ("known", "unknown", "known", "real", "known", "unknown"),
        "test": ("known", "unknown", "real"),
    },
    "_proof": {
        "train": ("known", "unknown", "known", "two_hop", "known", "real", "known", "unknown"),
        "test": ("known", "unknown", "two_hop", "real"),
    },
}  # name of a mix -> split -> kinds of question by turns


def balance_answers(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Drop what would give one answer more than its share of a source; the first ones stay."""
    sizes = Counter(candidate.source for candidate in candidates)
    seen: Counter[tuple[str, str]] = Counter()
    kept: list[Candidate] = []
    for candidate in candidates:
        key = candidate.source, normalize_answer(candidate.question.gold_answers[0])
        if seen[key] < max(1, int(ANSWER_SHARE * sizes[candidate.source])):
            seen[key] += 1
            kept.append(candidate)
    return kept


def split_by_entity(
    candidates: Sequence[Candidate], seed: int
) -> tuple[list[Candidate], list[Candidate]]:
    """Divide into train and test so that no entity is on both sides, whatever the source.

    Candidates that share an entity, directly or through others, stay together; a group falls to
    one side by the hash of its first entity, so a new candidate moves no other group.
    """
    groups = _group_entities(candidates)
    train: list[Candidate] = []
    test: list[Candidate] = []
    for candidate in candidates:
        group = groups[candidate.entities[0]]
        digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
        is_test = int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32
        (test if is_test else train).append(candidate)
    return train, test


def interleave(pools: Mapping[str, Sequence[T]], cycle: Sequence[str]) -> list[T]:
    """Take from the pools in turn, as the cycle says, until one of them runs out.

    Every prefix is as balanced as the cycle, to within its length.
    """
    left = {name: iter(items) for name, items in pools.items()}
    mixed: list[T] = []
    while True:
        for name in cycle:
            try:
                mixed.append(next(left[name]))
            except StopIteration:
                return mixed


def spread(by_source: Mapping[str, Sequence[T]], count: int, sampler: random.Random) -> list[T]:
    """Draw ``count`` items as evenly over the sources as they reach, then shuffle them."""
    shuffled = [sampler.sample(list(items), len(items)) for items in by_source.values()]
    drawn: list[T] = []
    while len(drawn) < count and any(shuffled):
        for items in shuffled:
            if items and len(drawn) < count:
                drawn.append(items.pop())
    sampler.shuffle(drawn)
    return drawn


def _group_entities(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Give each entity the smallest name among those it is tied to by a shared candidate."""
    parent: dict[str, str] = {}

    def root(entity: str) -> str:
        while parent.setdefault(entity, entity) != entity:
            entity = parent[entity]
        return entity

    for candidate in candidates:
        first, *others = (root(entity) for entity in candidate.entities)
        smallest = min(first, *others) if others else first
        for each in (first, *others):
            parent[each] = smallest
    return {entity: root(entity) for entity in list(parent)}
