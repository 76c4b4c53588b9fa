"""Keep train and test apart: no question twice in a file, no test question in train."""

from collections.abc import Collection, Iterable, Sequence

from contract.answers import normalize_answer
from data_prep.questions import Question
from data_prep.steps import DataPrepError


def question_key(text: str) -> str:
    """Text by which two questions count as the same: case, punctuation, articles aside."""
    return normalize_answer(text)


def question_keys(questions: Iterable[Question]) -> set[str]:
    """Keys of all questions."""
    return {question_key(question.text) for question in questions}


def drop_repeats(questions: Sequence[Question], taken: Collection[str]) -> list[Question]:
    """Keep the first of equal questions, and none whose key is in ``taken``."""
    seen = set(taken)
    kept: list[Question] = []
    for question in questions:
        key = question_key(question.text)
        if key and key not in seen:
            seen.add(key)
            kept.append(question)
    return kept


def check_disjoint(train: Iterable[str], test: Iterable[str]) -> None:
    """Compare the finished files by question text.

    Raises:
        DataPrepError: If a test question is in train, or a question is twice in one of them.
    """
    train_keys = [question_key(text) for text in train]
    test_keys = [question_key(text) for text in test]
    shared = set(train_keys) & set(test_keys)
    if shared:
        raise DataPrepError(
            f"{len(shared)} test question(s) are also in train, such as {min(shared)!r}; "
            "remove them from train (data_prep.overlap.drop_repeats) before writing."
        )
    for name, keys in (("train", train_keys), ("test", test_keys)):
        if len(set(keys)) != len(keys):
            raise DataPrepError(
                f"{len(keys) - len(set(keys))} question(s) of {name} are there twice; expected "
                "every question once (data_prep.overlap.drop_repeats)."
            )
