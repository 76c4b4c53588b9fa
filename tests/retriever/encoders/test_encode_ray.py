import pytest

from retriever.build import build_index
from retriever.options import BuildOptions

pytestmark = [pytest.mark.slow, pytest.mark.engine]


def test_a_ray_cluster_writes_the_same_index(tmp_path, write_corpus, encoder_folder):
    rows = [{"id": str(n), "text": f"number {n} " + "and so on " * (n % 7)} for n in range(2200)]
    corpus = write_corpus(tmp_path / "c.jsonl", rows)
    options = BuildOptions(encoder=encoder_folder, threads=1)
    build_index(corpus, tmp_path / "local", "flat", options)
    build_index(corpus, tmp_path / "cluster", "flat", options, ray_address="local")
    for path in (tmp_path / "local").iterdir():
        assert (tmp_path / "cluster" / path.name).read_bytes() == path.read_bytes(), path.name
