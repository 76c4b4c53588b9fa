import json

import pytest

from retriever.errors import CorpusError
from retriever.storage.corpus import parse_passage, read_corpus
from retriever.storage.passages import PassageStore, write_store
from retriever.types import Passage

GOOD = '{"id": "1", "title": "Dublin", "text": "A city."}'


def passages_of(path):
    return [line.passage for line in read_corpus(path)]


def write(tmp_path, *lines):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    return path


def test_both_shapes_give_the_same_passage(tmp_path):
    theirs = json.dumps({"id": "1", "contents": '"Dublin"\nA city.'})
    assert passages_of(write(tmp_path, theirs, GOOD)) == [Passage("1", "Dublin", "A city.")] * 2


@pytest.mark.parametrize(
    "contents",
    [
        '"Dublin"\nA city.',
        '"The "X" Files"\nA\n\nseries.',
        "no title",
        "first\nsecond",
        '"a"',
        '""\nx',
    ],
)
def test_contents_comes_back_exactly_as_it_was_read(contents):
    assert parse_passage(json.dumps({"id": 1, "contents": contents}).encode()).contents == contents


def test_an_integer_id_becomes_a_string():
    assert parse_passage(b'{"id": 7, "text": "x"}') == Passage("7", "", "x")


def test_blank_lines_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    path = write(
        tmp_path, b"\xef\xbb\xbf" + GOOD.encode() + b"\r", "", '{"id": "2", "text": "x"}\r'
    )
    assert [passage.id for passage in passages_of(path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "2"}', '"contents" is missing'),
        ('{"id": "2", "contents": 3}', '"contents" is 3'),
        ('{"id": "2", "title": "t", "text": null}', "must be strings"),
        ('{"id": "2", "contents": " "}', "neither title nor text"),
        ('{"text": "x"}', '"id" is None'),
        ('{"id": "", "text": "x"}', "\"id\" is ''"),
        ('{"id": true, "text": "x"}', '"id" is True'),
        ("[1]", "a JSON list"),
        ('{"id": "2", "text": "x"', "not valid JSON"),
        (b'{"id": "2", "text": "\xff"}', "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, line, problem):
    path = write(tmp_path, GOOD, "", line)
    with pytest.raises(CorpusError) as caught:
        passages_of(path)
    assert f"{path}:3: " in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_corpus_without_passages_is_refused(tmp_path, content):
    with pytest.raises(CorpusError, match="holds no passage"):
        passages_of(write(tmp_path, content))


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"no corpus file at .*absent\.jsonl"):
        passages_of(tmp_path / "absent.jsonl")


def test_a_duplicate_id_is_named_with_both_lines(tmp_path):
    path = write(tmp_path, '{"id": "5", "text": "x"}', "", GOOD, '{"id": 5, "text": "y"}')
    with pytest.raises(CorpusError, match=r"corpus\.jsonl:4: id '5' is already used at line 1"):
        write_store(path, tmp_path)


def test_the_store_gives_passages_by_position_and_ranks_ids_as_strings(tmp_path):
    ids = ["10", "9", "ä", "1", "x y"]
    path = write(tmp_path, *(json.dumps({"id": i, "text": f"text of {i}"}) for i in ids))
    seen = []
    (tmp_path / "index").mkdir()
    assert write_store(path, tmp_path / "index", seen.append) == 5
    store = PassageStore(tmp_path / "index")
    assert [passage.text for passage in store] == [f"text of {i}" for i in ids]
    assert store[2] == Passage("ä", "", "text of ä")
    assert [ids[at] for at in store.id_rank.argsort()] == sorted(ids)
    assert sum(seen) == (tmp_path / "index" / "passages.jsonl").stat().st_size
    for outside in (-1, 5):
        with pytest.raises(IndexError, match="the store has 5"):
            store[outside]
    store.close()


def test_the_store_reads_ranges_and_finds_passages_by_id(tmp_path):
    ids = [str(number * 7919 % 10_007) for number in range(1, 10_007)]
    path = write(tmp_path, *(json.dumps({"id": i, "text": f"text of {i}"}) for i in ids))
    (tmp_path / "index").mkdir()
    write_store(path, tmp_path / "index")
    store = PassageStore(tmp_path / "index")
    assert [passage.id for passage in store] == ids
    assert [passage.id for passage in store.read(4090, 4105)] == ids[4090:4105]
    assert store.read(5, 5) == []
    assert [store.find(ids[at]) for at in (0, 1, 5000, 10_005)] == [0, 1, 5000, 10_005]
    assert [store.find(other) for other in ("", "0", "99999", "zebra")] == [None] * 4
    store.close()


def test_a_duplicate_is_found_among_many_and_across_seams(tmp_path):
    ids = [str(number) for number in range(9000)]
    seam = sorted(ids)[4095]  # ids are compared 4,096 at a time
    path = write(tmp_path, *(json.dumps({"id": i, "text": "x"}) for i in [*ids, seam]))
    with pytest.raises(CorpusError, match=rf":9001: id '{seam}' is already used at line"):
        write_store(path, tmp_path)
