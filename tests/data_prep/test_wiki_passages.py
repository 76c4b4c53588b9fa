import json

import pytest

from data_prep.passages import (
    Article,
    CorpusPassage,
    cut_text,
    make_passages,
    read_articles,
    split_sentences,
    write_corpus,
)
from data_prep.steps import DataPrepError
from retriever.storage.corpus import read_corpus


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Born in St. Louis. He died.", ["Born in St. Louis.", "He died."]),
        ("J. R. R. Tolkien wrote. He taught.", ["J. R. R. Tolkien wrote.", "He taught."]),
        ("Made in the U.S. Army labs. It ran.", ["Made in the U.S. Army labs.", "It ran."]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        ("About 8.6 km. Next.", ["About 8.6 km.", "Next."]),
        ("A kind of great apes.The family grew.", ["A kind of great apes.", "The family grew."]),
        ("no end", ["no end"]),
        ("", []),
    ],
)
def test_sentences_end_where_they_should(text, sentences):
    assert split_sentences(text) == sentences


def test_passages_pack_whole_sentences_up_to_the_limit():
    text = "One two three. Four five. Six seven eight nine."
    assert cut_text(text, max_words=5) == ["One two three. Four five.", "Six seven eight nine."]
    assert cut_text(text, max_words=9) == [text]


def test_sentence_over_the_limit_stays_whole():
    text = "Short one. This sentence alone has more than five words. End."
    assert cut_text(text, max_words=5) == [
        "Short one.",
        "This sentence alone has more than five words.",
        "End.",
    ]


def test_cutting_loses_no_word(tiny_passages):
    text = " ".join(passage["text"] for passage in tiny_passages)
    assert " ".join(cut_text(text, max_words=20)).split() == text.split()


def test_ids_are_stable_and_disambiguation_pages_keep_their_number():
    articles = [
        Article("A", "One two. Three four.", "a letter"),
        Article("B", "B may refer to many things.", "Topics referred to by the same term"),
        Article("C", "Five six.", ""),
    ]
    made = list(make_passages(articles, max_words=2, per_article=None))
    assert [(passage.id, passage.title, passage.text) for passage in made] == [
        ("00000-0", "A", "One two."),
        ("00000-1", "A", "Three four."),
        ("00002-0", "C", "Five six."),
    ]
    first_only = list(make_passages(articles, max_words=2, per_article=1))
    assert [passage.id for passage in first_only] == ["00000-0", "00002-0"]


def test_articles_are_read_on_one_line(tmp_path):
    path = tmp_path / "summaries.json"
    entry = {"title": "Carnatic  music", "extract": "One. \nTwo.", "description": None}
    path.write_text(json.dumps({"Carnatic music": entry}))
    assert read_articles(path) == [Article("Carnatic music", "One. Two.", "")]


@pytest.mark.parametrize("content", ["no json", "[]", '{"a": {"title": "A"}}', '{"a": 3}'])
def test_other_file_is_refused(tmp_path, content):
    path = tmp_path / "summaries.json"
    path.write_text(content)
    with pytest.raises(DataPrepError, match="is not a summaries file"):
        read_articles(path)


def test_corpus_file_is_what_the_retriever_reads(tmp_path):
    path = tmp_path / "corpus.jsonl"
    write_corpus([CorpusPassage("00000-0", "Škocjan", 'A "cave".')], path)
    (line,) = read_corpus(path)
    assert (line.passage.id, line.passage.title) == ("00000-0", "Škocjan")
    assert line.passage.text == 'A "cave".'
