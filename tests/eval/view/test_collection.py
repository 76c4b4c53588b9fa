"""An index over files that are whole, torn, empty, hostile, or still growing."""

import json

import pytest

from eval.view.collection import Collection, Shelf
from eval.view.places import find_places
from tests.browser import LONG_S
from tests.eval.view.conftest import record_of, turn_of, write_lines


def collect(path):
    (place,) = find_places([path])
    collection = Collection(place)
    collection.refresh()
    return collection


def uids(collection):
    return [entry.uid for entry in collection.entries]


def test_a_row_says_how_it_went_and_where_its_line_stands(tmp_path):
    found = "<information>Doc 1(Title: T) t</information>"
    records = [
        record_of("a", turns=[turn_of("<search>q</search>", found=found), turn_of("", start=7)]),
        record_of("b", answer="nobody"),
        record_of("c", prediction=None, stop_reason="search_limit"),
        record_of("d", prediction=None, stop_reason="retriever_failed"),
    ]
    collection = collect(write_lines(tmp_path / "a.jsonl", records))
    assert [entry.verdict for entry in collection.entries] == ["right", "wrong", "none", "lost"]
    first = collection.entries[0]
    assert (first.searches, first.tokens, first.reward) == (1, 8, 1.0)
    assert first.seconds == pytest.approx(3.1)
    assert (first.source, first.knowledge, first.queries) == ("facts", "known", "q")
    for entry, record in zip(collection.entries, records, strict=True):
        assert collection.read(entry) == record
    assert collection.notes == []


def test_a_file_cut_in_mid_line_shows_what_stands_before_and_says_so(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [record_of("a"), record_of("b")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    collection = collect(path)
    assert uids(collection) == ["a"]
    assert "a.jsonl: its last" in collection.notes[0]
    assert "no whole line" in collection.notes[0]
    path.write_bytes(whole)  # the writer goes on where it was
    collection.refresh()
    assert uids(collection) == ["a", "b"]
    assert collection.notes == []


def test_a_last_line_that_lacks_only_its_end_is_taken(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [record_of("a"), record_of("b")])
    path.write_bytes(path.read_bytes()[:-1])
    collection = collect(path)
    assert uids(collection) == ["a", "b"]
    with path.open("a") as file:
        file.write("\n" + json.dumps(record_of("c")) + "\n")
    collection.refresh()
    assert uids(collection) == ["a", "b", "c"]
    assert [collection.read(entry)["uid"] for entry in collection.entries] == ["a", "b", "c"]


def test_an_empty_file_says_that_it_is(tmp_path):
    (tmp_path / "a.jsonl").touch()
    collection = collect(tmp_path / "a.jsonl")
    assert collection.notes == ["a.jsonl is empty; trajectories are shown as they come."]


def test_lines_that_are_no_trajectories_are_left_out_and_named(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [record_of("a")])
    with path.open("a") as file:
        file.write('no json\n{"question": "q"}\n\n[]\n' + json.dumps(record_of("b")) + "\n")
    collection = collect(path)
    assert uids(collection) == ["a", "b"]
    assert [note.partition(" is no")[0] for note in collection.notes] == [
        f"a.jsonl line {number}" for number in (2, 3, 5)
    ]


def test_numbers_and_texts_that_only_python_writes_are_read(tmp_path):
    record = record_of("a", question="half \ud800 a pair", response_logprobs=[float("nan")] * 4)
    collection = collect(write_lines(tmp_path / "a.jsonl", [record]))
    read = collection.read(collection.entries[0])
    assert read["question"] == record["question"]
    assert read["response_logprobs"] == [None] * 4


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [record_of("a"), record_of("b")])
    collection = collect(path)
    old = collection.entries[1]
    write_lines(tmp_path / "new", [record_of("c"), record_of("d"), record_of("e")]).replace(path)
    collection.refresh()
    assert uids(collection) == ["c", "d", "e"]
    with pytest.raises(ValueError, match="b is no longer where it was"):
        collection.read(old)


def test_a_run_that_goes_on_is_followed_file_by_file(run_dir):
    collection = collect(run_dir)
    assert len(collection.entries) == 16
    write_lines(run_dir / "trajectories" / "step_000003.jsonl", [record_of("new", step=3)])
    collection.refresh()
    assert collection.entry_of("new").step == 3
    assert len(collection.asking("question 1?")) == 8


def test_calls_of_dumps_without_a_mark_are_searches_by_their_name(tmp_path):
    turn = turn_of("<search>q</search>", found="Doc 1(Title: T) t")
    del turn["calls"][0]["is_search"]
    collection = collect(write_lines(tmp_path / "a.jsonl", [record_of("a", turns=[turn])]))
    assert collection.entries[0].searches == 1


def test_of_two_lines_with_one_uid_the_last_counts(tmp_path):
    records = [record_of("a", stop_reason="aborted", prediction=None), record_of("a")]
    collection = collect(write_lines(tmp_path / "a.jsonl", records))
    assert collection.entry_of("a").verdict == "right"


def test_a_shelf_reads_in_the_background_and_again(results):
    shelf = Shelf(find_places([results]))
    shelf.start()
    try:
        one = shelf.collections["one.search.greedy"]
        with (results / "one.search.greedy.jsonl").open("a") as file:
            file.write(json.dumps(record_of("late")) + "\n")
        for _ in range(LONG_S * 10):
            if one.entry_of("late"):
                break
            shelf._stop.wait(0.1)
        assert one.entry_of("late")
    finally:
        shelf.stop()


def test_only_the_lines_of_the_list_are_kept_of_a_large_file(tmp_path):
    long = record_of("a", response_ids=[7] * 50_000, response_mask=[1] * 50_000)
    path = write_lines(tmp_path / "a.jsonl", [long, record_of("b")])
    collection = collect(path)
    assert [entry.length for entry in collection.entries] == [
        len(line) for line in path.read_bytes().splitlines(keepends=True)
    ]
    assert collection.read(collection.entry_of("b"))["uid"] == "b"
