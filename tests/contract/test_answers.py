"""One normalisation, for what a policy wrote and for what an index found."""

import pytest

from contract.answers import normalize_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Beatles", "beatles"),
        ("  A  Tale of\tTwo   Cities ", "tale of two cities"),
        ("U.S.A.", "usa"),
        ("rock-'n'-roll", "rocknroll"),
        ("an apple a day", "apple day"),
        ("theatre", "theatre"),
        ("Another", "another"),
        ("the-end", "theend"),
        ("CAFÉ", "café"),
        ("“quoted”", "“quoted”"),  # only ASCII punctuation goes, as in the protocol
        ("富士山", "富士山"),
        ("1,000", "1000"),
        ("The", ""),
        ("?!", ""),
    ],
)
def test_normalisation_lowers_then_drops_punctuation_and_articles(text, normal):
    assert normalize_answer(text) == normal
