import pytest

from data_prep.answerable import answerable_questions
from data_prep.passages import CorpusPassage, write_corpus
from data_prep.questions import Question
from retriever.build import build_index
from retriever.evaluate.quality import has_answer
from retriever.indexes.kinds import open_retriever
from retriever.types import Hit, Passage


def hit(title, text):
    return Hit(Passage("p", title, text), 1.0)


@pytest.mark.parametrize(
    ("gold", "passage", "expected"),
    [
        ("The Bram Stoker!", ("Dracula", "a novel by BRAM  STOKER."), True),
        ("Dracula", ("Dracula", "a novel"), True),
        ("Stoke", ("Dracula", "by Bram Stoker"), False),  # whole words only
        ("Dracula novel", ("Dracula", "novel of 1897"), False),  # not across title and text
        ("K2", ("K2", "a mountain"), False),  # too short to tell
        ("Ireland", ("Ireland", "Ireland has horror."), False),  # it stands in the question
    ],
)
def test_evidence_by_hand(gold, passage, expected):
    question = Question("q", "who wrote horror in Ireland", (gold,))
    assert has_answer(question, [hit(*passage)]) is expected


def test_any_gold_answer_in_any_hit_is_enough():
    question = Question("q", "who", ("Nobody", "Ann Lee"))
    assert has_answer(question, [hit("", "no"), hit("", "it was Ann Lee")])
    assert not has_answer(question, [])


def test_filter_keeps_order_and_looks_at_top_k_hits_only(tmp_path, capsys, monkeypatch):
    corpus = tmp_path / "corpus.jsonl"
    write_corpus(
        [
            CorpusPassage("0", "Dracula", "Dracula is a novel. The novel Dracula is long."),
            CorpusPassage("1", "Bram Stoker", "He wrote Dracula and worked in a London theatre."),
            CorpusPassage("2", "Mount Fuji", "Mount Fuji is the highest mountain of Japan."),
        ],
        corpus,
    )
    build_index(corpus, tmp_path / "index", "bm25")
    questions = [
        Question("a", "which country is Mount Fuji in", ("Japan",)),
        Question("b", "who wrote moby dick", ("Herman Melville",)),
        Question("c", "novel Dracula", ("Bram Stoker",)),
    ]
    retriever = open_retriever(tmp_path / "index")
    capsys.readouterr()  # of the build
    monkeypatch.setattr("data_prep.steps._TICK_S", 0)
    # The best hit of "novel Dracula" is passage 0, which does not name the author.
    assert [q.id for q in answerable_questions(questions, retriever, top_k=1)] == ["a"]
    assert [q.id for q in answerable_questions(questions, retriever, top_k=2)] == ["a", "c"]
    retriever.close()
    told = capsys.readouterr()  # no terminal: lines, and no bar
    assert told.out == 2 * "  searching, 0 of 3 questions\n"
    assert told.err == ""
