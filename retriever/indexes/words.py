"""Split text into the words that BM25 compares."""

import re
import unicodedata

ANALYSIS = "casefold, Latin accents removed, words of letters and digits, 33 English stop words"

_WORDS = re.compile(r"\w+")
_ACCENTS = re.compile("[\u0300-\u036f]")
_STOP_WORD_LIST = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


def split_words(text: str) -> list[str]:
    """Return the words that BM25 compares: folded, without stop words, in order."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return [word for word in _WORDS.findall(text.casefold()) if word not in _STOP_WORDS]
