import faiss
import numpy as np
import pytest

from retriever.errors import BadIndexError, BuildError
from retriever.indexes.ann_build import choose_pq_bytes, count_cells, write_vectors
from retriever.indexes.dense import open_vectors
from retriever.options import BuildOptions, OpenOptions
from retriever.storage.faiss_files import FAISS_FILE
from retriever.storage.vectors import ENCODED

SIZE, DIMENSION, TWINS = 3_000, 32, 40
KINDS = [
    ("ivf", {}),
    ("ivf", {"precision": "fp16"}),
    ("ivf", {"precision": "bf16"}),
    ("ivf", {"precision": "sq8"}),
    ("ivfpq", {}),
    ("ivfpq", {"refine": "none", "pq_bytes": 16}),
    ("ivfpq", {"refine": "fp32"}),
    ("hnsw", {"hnsw_m": 8, "ef_construction": 40}),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    centres = random.standard_normal((60, DIMENSION), dtype=np.float32)
    rows = centres[random.integers(0, 60, SIZE)]
    rows += 0.6 * random.standard_normal(rows.shape, dtype=np.float32)
    rows[2_000 : 2_000 + TWINS] = rows[:TWINS]  # equal passages
    queries = rows[:TWINS] + 0.2 * random.standard_normal((TWINS, DIMENSION), dtype=np.float32)
    return [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, queries)]


@pytest.fixture(scope="module")
def id_rank():
    return np.random.default_rng(1).permutation(SIZE).astype(np.int32)


@pytest.fixture(scope="module")
def written(vectors, tmp_path_factory):
    """Write a kind once for all tests."""
    done = {}

    def write(number):
        if number not in done:
            kind, choices = KINDS[number]
            folder = tmp_path_factory.mktemp("ann")
            vectors[0].tofile(folder / ENCODED)
            options = BuildOptions(threads=1, **choices)
            done[number] = folder, kind, write_vectors(kind, vectors[0], folder, options)
        return done[number]

    return write


def recall(found, vectors, top_k):
    exact = np.argsort(-(vectors[1] @ vectors[0].T), axis=1)[:, :top_k]
    shared = [len({*a.tolist()} & {*b.tolist()}) for a, b in zip(found, exact, strict=True)]
    return sum(shared) / exact.size


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(KINDS)), ids=map(str, KINDS))
def test_a_kind_finds_most_of_what_exact_search_finds(written, vectors, id_rank, number):
    index = open_vectors(*written(number), id_rank, OpenOptions())
    scores, positions = index.search(vectors[1], 10)
    assert (index.size, index.dimension) == (SIZE, DIMENSION)
    assert recall(positions, vectors, 10) > (0.4 if KINDS[number][1].get("refine") else 0.85)
    assert (np.diff(scores, axis=1) <= 0).all()
    for at, (of_query, found) in enumerate(zip(scores, positions, strict=True)):
        assert len({*found.tolist()}) == 10
        again = index.search(vectors[1][at : at + 1], 10)
        assert (again[0][0] == of_query).all()
        assert (again[1][0] == found).all()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(KINDS)), ids=map(str, KINDS))
def test_equal_passages_have_equal_scores_in_order_of_ids(written, vectors, id_rank, number):
    index = open_vectors(*written(number), id_rank, OpenOptions())
    scores, positions = index.search(vectors[0][:TWINS], 2)
    both = np.array([[at, at + 2_000] for at in range(TWINS)])
    expected = np.take_along_axis(both, np.argsort(id_rank[both], axis=1), axis=1)
    is_found = (np.sort(positions, axis=1) == both).all(axis=1)
    assert is_found.mean() > (0.7 if KINDS[number][1].get("refine") == "none" else 0.95)
    assert (scores[is_found, 0] == scores[is_found, 1]).all()
    assert (positions[is_found] == expected[is_found]).all()


@pytest.mark.parametrize("number", range(len(KINDS)), ids=map(str, KINDS))
def test_the_first_hits_are_the_same_whatever_top_k_is(written, vectors, id_rank, number):
    index = open_vectors(*written(number), id_rank, OpenOptions())
    scores, positions = index.search(vectors[1], 3)
    for top_k in (50, 100):
        more = index.search(vectors[1], top_k)
        assert (scores == more[0][:, :3]).all()
        assert (positions == more[1][:, :3]).all()


def test_as_many_candidates_are_scored_again_whatever_top_k_is(written, vectors, id_rank):
    index = open_vectors(*written(4), id_rank, OpenOptions(refine_factor=4))
    # The worst order that coarse codes can give: one that says nothing of the exact one.
    index._candidates = lambda queries, wanted: np.tile(np.arange(wanted), (len(queries), 1))
    few, many = index.search(vectors[1], 3)[1], index.search(vectors[1], 40)[1]
    assert (few == many[:, :3]).all()
    assert (np.sort(many, axis=1) == np.arange(40)).all()
    assert (few != index.search(vectors[1], 400)[1][:, :3]).any()


@pytest.mark.parametrize("number", [3, 4, 7], ids=str)
def test_the_same_choices_give_the_same_bytes(written, vectors, tmp_path, number):
    folder, kind, settings = written(number)
    options = BuildOptions(threads=1, **KINDS[number][1])
    assert write_vectors(kind, vectors[0], tmp_path, options) == settings
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert (tmp_path / FAISS_FILE).is_file()


def test_a_seed_chooses_another_training(vectors, written, tmp_path):
    folder, kind, _ = written(0)
    write_vectors(kind, vectors[0], tmp_path, BuildOptions(threads=1, seed=1))
    assert (tmp_path / FAISS_FILE).read_bytes() != (folder / FAISS_FILE).read_bytes()


def test_more_cells_or_candidates_find_more(written, vectors, id_rank):
    def found(number, top_k=10, **choices):
        index = open_vectors(*written(number), id_rank, OpenOptions(**choices))
        return recall(index.search(vectors[1], top_k)[1], vectors, top_k)

    assert found(0, nprobe=1) < found(0, nprobe=1000) == 1.0
    assert found(4, refine_factor=1) < found(4, refine_factor=20)


def test_more_candidates_find_more_in_a_sparse_graph(vectors, id_rank, tmp_path):
    options = BuildOptions(hnsw_m=2, ef_construction=4)
    settings = write_vectors("hnsw", vectors[0], tmp_path, options)

    def found(ef_search):
        options = OpenOptions(ef_search=ef_search)
        index = open_vectors(tmp_path, "hnsw", settings, id_rank, options)
        return recall(index.search(vectors[1], 3)[1], vectors, 3)

    assert found(1) < found(500)


def test_hits_that_were_not_found_are_never_made_up(written, vectors, id_rank):
    index = open_vectors(*written(0), id_rank, OpenOptions(nprobe=1))
    scores, positions = index.search(vectors[1], 10 * SIZE)
    assert positions.shape == (TWINS, SIZE)
    for of_query, found in zip(scores, positions, strict=True):
        real = found[found >= 0].tolist()
        assert 0 < len(real) == len({*real}) < SIZE
        assert np.isneginf(of_query[len(real) :]).all()


def test_another_kind_than_the_manifest_says_is_refused(written, id_rank):
    folder, _, settings = written(0)
    with pytest.raises(BadIndexError, match="is a IndexIVFFlat, its manifest says hnsw"):
        open_vectors(folder, "hnsw", settings, id_rank, OpenOptions())
    (broken := folder.parent / "broken").mkdir()
    (broken / FAISS_FILE).write_bytes((folder / FAISS_FILE).read_bytes()[:1000])
    with pytest.raises(BadIndexError, match="is no FAISS index"):
        open_vectors(broken, "ivf", settings, id_rank, OpenOptions())


@pytest.mark.parametrize(
    ("kind", "choices", "size", "problem"),
    [
        ("ivfpq", {}, 255, "learns from 256 passages or more, the corpus has 255"),
        ("ivfpq", {"pq_bytes": 5}, 300, "pq_bytes is 5; expected a divisor of the dimension 32"),
        ("ivf", {"nlist": 301}, 300, "nlist is 301; expected at most the 300 passages"),
    ],
)
def test_what_cannot_be_built_is_refused(vectors, tmp_path, kind, choices, size, problem):
    with pytest.raises(BuildError, match=problem):
        write_vectors(kind, vectors[0][:size], tmp_path, BuildOptions(**choices))


def test_a_file_that_cannot_be_written_is_an_error_with_its_name(vectors, tmp_path):
    with pytest.raises(OSError, match=r"nowhere/vectors\.faiss"):
        write_vectors("ivf", vectors[0][:100], tmp_path / "nowhere", BuildOptions())


def test_an_adopted_l2_file_without_direct_map_is_searched(vectors, id_rank, tmp_path):
    theirs = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIMENSION), DIMENSION, 20)
    theirs.train(vectors[0])
    theirs.add(vectors[0])
    faiss.write_index(theirs, str(tmp_path / FAISS_FILE))
    index = open_vectors(tmp_path, "ivf", {"nprobe": 20}, id_rank, OpenOptions())
    assert recall(index.search(vectors[1], 10)[1], vectors, 10) == 1.0


def test_defaults_follow_corpus_and_dimension():
    assert [count_cells(size) for size in (1, 100, 10_000, 1_000_000)] == [1, 2, 250, 4000]
    assert [choose_pq_bytes(width) for width in (384, 768, 50, 7)] == [48, 96, 10, 1]
