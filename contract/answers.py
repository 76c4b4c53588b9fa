"""When two texts are the same answer: for scoring what a policy wrote, and for judging an index."""

import re
import string

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower-case, drop ASCII punctuation, drop articles, collapse white space, in this order.

    SQuAD's normalisation, which NQ, TriviaQA and Search-R1 use too.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
