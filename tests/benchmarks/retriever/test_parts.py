"""Every part of the bench from start to end, over a tiny encoder and a few passages."""

import json

import pytest

from benchmarks.retriever import (
    building,
    coverage,
    encoders,
    faults,
    frontier,
    limits,
    million,
    soak,
    versus,
)
from benchmarks.retriever.__main__ import PARTS, measure
from benchmarks.retriever.direct import direct_process
from benchmarks.retriever.materials import Materials
from benchmarks.retriever.servers import ServerDiedError, running
from benchmarks.retriever.tables import make_tables
from benchmarks.retriever.tiny_encoder import DIMENSION, make_passages, save_tiny_encoder
from benchmarks.retriever.versus import Traffic

PEER = '''
import argparse
import torch
import uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.post("/retrieve")
def retrieve(body: dict):
    """Answer with nothing, after moving something to a GPU that is not there."""
    layer = torch.nn.Linear(1, 1).cuda().half()
    layer(torch.ones(1, dtype=layer.weight.dtype).cuda())
    hit = {"document": {"id": "0"}, "score": 1.0}
    return {"result": [[hit] for _ in body["queries"]]}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("index_path", "corpus_path", "topk", "retriever_name", "retriever_model"):
        parser.add_argument(f"--{name}", required=True)
    assert open(parser.parse_args().index_path, "rb").read(4) == b"IxFI"
    uvicorn.run(app, host="0.0.0.0", port=8000)
'''


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    """Stand-ins for the quickstart's files and for a checkout of Search-R1."""
    import pyarrow
    import pyarrow.parquet

    root = tmp_path_factory.mktemp("artifacts")
    made = Materials(root, root / "bench", root / "peer")
    with direct_process() as direct:
        direct.call(save_tiny_encoder, root / "made").rename(root / "model")
    made.encoder.parent.mkdir(parents=True)
    (root / "model").rename(made.encoder)
    made.quickstart_corpus.parent.mkdir(parents=True)
    passages = list(make_passages(600))
    rows = [row | {"id": f"{n:05d}-0"} for n, row in enumerate(passages)]
    made.quickstart_corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = [
        {
            "extra_info": {"question": row["text"]},
            "reward_model": {"ground_truth": {"target": [row["text"].split()[0]]}},
        }
        for row in passages[:50]
    ]
    for file in made.question_files:
        file.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(questions), file)
    script = root / "peer" / "search_r1" / "search" / "retrieval_server.py"
    script.parent.mkdir(parents=True)
    script.write_text(PEER)
    made.check()
    return made


@pytest.fixture(autouse=True)
def shortened(monkeypatch):
    """Measure for moments: what is tested is that every figure is there."""
    set_ = monkeypatch.setattr
    set_(limits, "_SECONDS", 0.2)
    set_(encoders, "_WAYS", tuple(encoders._LOADERS)[:1] + tuple(encoders._LOADERS)[-4:])
    set_(encoders, "_QUERIES", 40)
    set_(encoders, "_LONE", 3)
    set_(encoders, "_ROUNDS", 1)
    set_(versus, "_ROUNDS", 1)
    set_(versus, "_TRAFFIC", ((Traffic(2), 0.3, 0.3), (Traffic(2, repeats=5), 0.3, 0.3)))
    set_(coverage, "_ROUNDS", 1)
    set_(coverage, "_SECONDS", 0.3)
    set_(faults, "_ROUNDS", 1)
    set_(faults, "_SECONDS", 0.5)
    set_(million, "PASSAGES", 3000)
    set_(million, "DIMENSION", DIMENSION)
    set_(million, "_ROUNDS", 1)
    set_(million, "_SECONDS", 0.3)
    set_(soak, "REQUESTS", 600)
    set_(soak, "_CHUNK", 200)
    set_(building, "_MANY", 300)
    set_(building, "_SIZES", (300, 600))
    set_(frontier, "QUESTIONS", 20)
    set_(frontier, "_KNOBS", {"nprobe": (1, 2), "ef_search": (8,)})
    set_(frontier, "_DERIVED", {"hnsw": ("hnsw", {}), "sq8": ("flat", {"precision": "sq8"})})


def bm25_index(materials, corpus, _name, *_flags):
    return materials.index(corpus, "words", "--kind", "bm25")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_gives_figures_that_make_a_table(part, materials, monkeypatch) -> None:
    if part in ("faults", "soak"):  # a server without torch starts at once, and will do
        monkeypatch.setattr(Materials, "dense_index", bm25_index)
    result = json.loads(json.dumps(measure(part, materials)))
    table = make_tables({part: result})[part]
    assert table.startswith("|") or "passages/s" in table
    assert "nan" not in table
    if part in ("versus", "million"):
        assert all(row["queries_per_s_ratio"] > 0 for row in result["rows"])


@pytest.mark.slow
def test_a_server_that_ends_is_reported_with_its_last_words() -> None:
    command = ["-c", "import sys; sys.exit('no such index')"]
    with pytest.raises(ServerDiedError, match="no such index"), running(command, 1, "it"):
        pass
