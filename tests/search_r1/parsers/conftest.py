"""Fixtures of the tests that run the engines' own parsers."""

import copy

import pytest


@pytest.fixture(scope="session")
def samples():
    from tests.search_r1.parsers import engine_samples

    return engine_samples


@pytest.fixture(scope="session")
def marked_tokenizer(samples, bpe_tokenizer):
    """A tokenizer that has every token some format looks up."""
    tokenizer = copy.deepcopy(bpe_tokenizer)
    tokenizer.add_tokens(samples.MARKERS)
    return tokenizer
