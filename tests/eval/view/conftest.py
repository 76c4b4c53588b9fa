"""Trajectories as eval.run and training dump them, and the viewer over a folder of them."""

import json

import pytest

from eval.view.app import make_viewer
from eval.view.collection import Shelf
from eval.view.places import find_places
from tests.browser import served


def turn_of(text, *, start=0, found="", ids=4, passage_ids=("1",), **changes):
    """One turn; with ``found`` it searched for ``q`` and read that."""
    given = 3 if found else 0
    call = {"name": "search", "arguments": {"query": "q"}, "status": "ok", "seconds": 0.1}
    return {
        "model_text": text, "start": start, "num_ids": ids, "stop_reason": "stop",
        "generate_s": 1.5, "tool_s": 0.1 if found else 0.0, "context_digest": "", "call": None,
        "calls": [call | {"is_search": True}] if found else [], "well_formed": True,
        "is_malformed_call": False, "error": None, "overrun": False, "observation_text": found,
        "num_observation_ids": given, "observation_truncated": False,
        "passage_ids": list(passage_ids) if found else [], "opening": "",
    } | changes  # fmt: skip


def record_of(uid, question="who wrote Dracula?", answer="Bram Stoker", *, turns=None, **changes):
    """A trajectory that answers at once; right when it says Bram Stoker."""
    turns = turns or [turn_of(f"<answer>{answer}</answer>")]
    size = sum(turn["num_ids"] + turn["num_observation_ids"] for turn in turns)
    mask = [one for t in turns for one in [1] * t["num_ids"] + [0] * t["num_observation_ids"]]
    em = float(answer == "Bram Stoker")
    return {
        "uid": uid, "question": question, "gold_answers": ["Bram Stoker", "Stoker"],
        "prompt_ids": [1, 2, 3], "response_ids": list(range(10, 10 + size)), "response_mask": mask,
        "response_logprobs": [-0.5 * one for one in mask], "turns": turns, "prediction": answer,
        "stop_reason": "answer", "reward": {"total": em, "em": em, "f1": em}, "step": -1,
        "metadata": {"data_source": "facts", "knowledge": "known"},
    } | changes  # fmt: skip


def write_lines(path, records):
    """Write a file of trajectories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.fixture
def results(tmp_path):
    """Two results over the same four questions: the second asks more and knows less."""
    asked = ["who wrote Dracula?", "who is number 1?", "who is number 2?", "what is Zürich?"]
    found = "\n<information>Doc 1(Title: Dracula) a novel by Bram Stoker</information>\n"
    one = [record_of(f"facts/{n}", text) for n, text in enumerate(asked)]
    one[2] = record_of("facts/2", asked[2], "nobody", stop_reason="answer")
    searched = [turn_of("<think>hm</think><search>q</search>", found=found), turn_of("", start=7)]
    two = [
        record_of(f"facts/{n}", text, "nobody" if n else "Bram Stoker", turns=searched)
        for n, text in enumerate(asked)
    ]
    two[3] |= {"prediction": None, "stop_reason": "no_action"}
    write_lines(tmp_path / "results" / "one.search.greedy.jsonl", one)
    write_lines(tmp_path / "results" / "two.search.greedy.jsonl", two)
    return tmp_path / "results"


@pytest.fixture
def run_dir(tmp_path):
    """A training run of two steps, two groups of four in each."""
    folder = tmp_path / "runs" / "quickstart" / "2026-11-30"
    for step in (1, 2):
        records = [
            record_of(
                f"s{step}q{q}_{n}", f"question {q}?", "Bram Stoker" if n < q else "no", step=step
            )
            for q in (1, 2)
            for n in range(4)
        ]
        write_lines(folder / "trajectories" / f"step_{step:06d}.jsonl", records)
    return folder


@pytest.fixture
def view():
    """Serve a viewer over paths; gives its address. Everything is read when it is given."""
    shelves = []
    with served() as serve:

        def start(*paths, tokenizer=None):
            shelf = Shelf(find_places(list(paths)))
            for collection in shelf:
                collection.refresh()
            shelf.start()
            shelves.append(shelf)
            return serve(make_viewer(shelf, tokenizer))

        yield start
    for shelf in shelves:
        shelf.stop()
