"""All candidates of the mix, from the pinned packages."""

from collections.abc import Mapping
from pathlib import Path

from data_prep.knowledge.candidates import Candidate, Kind
from data_prep.knowledge.facts import (
    COUNTRY_KINDS,
    LAUREATE_KINDS,
    country_candidates,
    laureate_candidates,
)
from data_prep.knowledge.two_hop import TWO_HOP_KINDS, two_hop_candidates
from data_prep.knowledge.words import WORD_KINDS, WORDS_FILE, word_candidates
from data_prep.sources import AssetSet
from data_prep.steps import sha256_of

KINDS: dict[str, Kind] = {
    kind.source: kind for kind in (*WORD_KINDS, *COUNTRY_KINDS, *LAUREATE_KINDS, *TWO_HOP_KINDS)
}


def read_candidates(assets: AssetSet, wheels: Mapping[str, Path]) -> list[Candidate]:
    """Make every candidate, kind by kind, always in the same order."""
    countries = country_candidates(assets.countries, wheels[assets.countries.package])
    return [
        *word_candidates(assets.words, wheels[assets.words.package]),
        *countries,
        *laureate_candidates(assets.laureates, wheels[assets.laureates.package]),
        *two_hop_candidates(countries),
    ]


def candidate_inputs(assets: AssetSet) -> dict[str, str]:
    """Name what decides the candidates, for receipts."""
    return {
        "words_sha256": assets.words.sha256,
        "word_lists_sha256": sha256_of(WORDS_FILE),
        "countries_sha256": assets.countries.sha256,
        "laureates_sha256": assets.laureates.sha256,
        "candidates_version": "2",
    }
