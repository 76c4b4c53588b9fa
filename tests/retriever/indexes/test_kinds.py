import contextlib
import json
import logging
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retriever.build import build_index
from retriever.errors import BadIndexError, BuildError
from retriever.indexes.kinds import KINDS, load_kind, open_retriever, resolve_kind
from retriever.options import BuildOptions, OpenOptions


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_kind_is_built_and_served(tmp_path, corpus_file, encoder_folder, tiny_passages, kind):
    build_index(corpus_file, tmp_path / "i", kind, BuildOptions(encoder=encoder_folder))
    with contextlib.closing(open_retriever(tmp_path / "i")) as retriever:
        assert (retriever.kind, retriever.size) == (kind, 12)
        [hits] = retriever.search([f'"{tiny_passages[5]["title"]}"\n{tiny_passages[5]["text"]}'], 1)
    assert hits[0].passage.id == tiny_passages[5]["id"]
    assert (tmp_path / "i" / "encoded.f32").exists() == (kind == "flat")


@pytest.mark.slow
def test_auto_builds_what_it_chose_and_says_why(tmp_path, corpus_file, encoder_folder, caplog):
    caplog.set_level(logging.INFO, logger="retriever")
    options = BuildOptions(encoder=encoder_folder, precision="sq8")
    manifest = build_index(corpus_file, tmp_path / "i", "auto", options)
    assert manifest.kind == "flat"
    assert manifest.settings["vectors"]["precision"] == "sq8"
    assert "auto: flat for 12 passages of 32 numbers" in caplog.text


def test_a_named_kind_is_taken_as_it_is():
    assert [resolve_kind(kind, 10**9, BuildOptions()) for kind in KINDS] == [*KINDS]


def test_an_unknown_kind_is_refused_with_those_that_exist():
    with pytest.raises(BadIndexError, match=r"'ball-tree'; choose one of: bm25, flat, .*, auto"):
        load_kind("ball-tree")


@pytest.mark.parametrize(
    ("kind", "choices", "problem"),
    [
        ("flat", {"nlist": 4}, "nlist is 4, but flat has no use for it; it is for ivf, ivfpq"),
        ("hnsw", {"precision": "sq8"}, "precision is 'sq8', but hnsw has no use for it"),
        ("ivf", {"refine": "none"}, "refine is 'none', but ivf has no use for it; it is for ivfpq"),
    ],
)
def test_a_build_option_for_another_kind_is_refused(
    tmp_path, corpus_file, encoder_folder, kind, choices, problem
):
    options = BuildOptions(encoder=encoder_folder, **choices)
    with pytest.raises(BuildError, match=problem):
        build_index(corpus_file, tmp_path / "i", kind, options)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "choice",
    [{"nprobe": 3}, {"ef_search": 3}, {"refine_factor": 3}, {"device": "cuda"}, {"encoder": "m"}],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_open_option_for_another_kind_is_refused(bm25_index, tmp_path, kind, choice):
    folder = tmp_path / "i"
    shutil.copytree(bm25_index, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"kind": kind}))
    [(name, value)] = choice.items()
    fitting = {
        "nprobe": {"ivf", "ivfpq"},
        "ef_search": {"hnsw"},
        "refine_factor": {"ivfpq"},
        "device": {"flat", "ivf", "ivfpq", "hybrid"},
        "encoder": {*KINDS} - {"bm25"},
    }[name]
    if kind not in fitting:
        options = OpenOptions(**{name: Path(value) if name == "encoder" else value})
        with pytest.raises(BadIndexError, match=f"{name} is {value!r}, but {kind} has no use for"):
            open_retriever(folder, options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bm25", "flat", "hybrid"])
def test_the_first_hits_are_the_same_whatever_top_k_is(
    tmp_path, write_corpus, encoder_folder, kind
):
    draw = random.Random(0)
    words = ["dublin", "river", "castle", "north", "king", "song", "green", "stone", "harp"]
    texts = [" ".join(draw.choices(words, k=6)) for _ in range(150)]
    rows = [{"id": str(at), "title": "", "text": text} for at, text in enumerate(texts)]
    corpus = write_corpus(tmp_path / "c.jsonl", rows)
    options = BuildOptions(encoder=None if kind == "bm25" else encoder_folder)
    build_index(corpus, tmp_path / "i", kind, options)
    with contextlib.closing(open_retriever(tmp_path / "i")) as retriever:
        few, many = (retriever.search(texts[:5], top_k) for top_k in (3, 50))
    assert [len(hits) for hits in few] == [3] * 5
    assert few == [hits[:3] for hits in many]


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"precision": "int4"}, "precision is 'int4'; expected one of: fp32, fp16, bf16, sq8"),
        ({"refine": "int4"}, "refine is 'int4'; expected one of: none"),
        ({"hnsw_m": 1}, "hnsw_m is 1; expected 2 or more"),
        ({"nlist": 0}, "nlist is 0; expected 1 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"devices": ()}, "devices is empty"),
    ],
)
def test_build_options_are_checked(choices, problem):
    with pytest.raises(ValueError, match=problem):
        BuildOptions(**choices)


def test_opening_bm25_imports_neither_torch_nor_faiss(bm25_index):
    script = (
        "import sys; from pathlib import Path; from retriever.indexes.kinds import open_retriever\n"
        f"open_retriever(Path({str(bm25_index)!r})).search(['dublin'], 3)\n"
        "print({'torch', 'faiss', 'sentence_transformers'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
