import types

import faiss
import numpy as np
import pytest

from retriever.errors import DeviceError
from retriever.indexes.dense import open_vectors
from retriever.indexes.gpu import gpu_candidates, pick_gpus
from retriever.indexes.kinds import open_retriever
from retriever.options import OpenOptions
from retriever.storage.faiss_files import FAISS_FILE
from retriever.storage.vectors import (
    ENCODED,
    StoredVectors,
    measure_rows,
    open_stored,
    store_vectors,
)

HAS_GPU_BUILD = hasattr(faiss, "StandardGpuResources")


def with_gpus(monkeypatch, number):
    """Let the decision see a FAISS that has GPU support, on a machine with some GPUs."""
    build = types.SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: number)
    monkeypatch.setattr("retriever.indexes.gpu.faiss", build)


def test_the_cpu_needs_no_gpu_build():
    assert pick_gpus("cpu") == ()


@pytest.mark.skipif(HAS_GPU_BUILD, reason="the FAISS installed here has GPU support")
def test_gpus_without_a_gpu_build_are_refused(flat_index):
    with pytest.raises(DeviceError, match=r"searches on the CPU only; install .*setup-gpu"):
        pick_gpus("cuda")
    with pytest.raises(DeviceError, match="device is 'cuda:0'"):
        open_retriever(flat_index, OpenOptions(device="cuda:0"))


@pytest.mark.parametrize(
    ("device", "gpus"), [("cuda", (0, 1, 2)), ("cuda:1", (1,)), ("cuda:2,0", (2, 0))]
)
def test_gpus_are_picked_by_number(monkeypatch, device, gpus):
    with_gpus(monkeypatch, 3)
    assert pick_gpus(device) == gpus


@pytest.mark.parametrize(
    ("device", "present"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3), ("cuda:1,1", 3)]
)
def test_gpus_that_are_not_there_are_refused(monkeypatch, device, present):
    with_gpus(monkeypatch, present)
    with pytest.raises(DeviceError, match=f"FAISS sees {present} GPUs"):
        pick_gpus(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:a", "cuda:0,", "CUDA", ""])
def test_a_device_of_another_form_is_refused(device):
    with pytest.raises(ValueError, match="expected cpu, cuda, or GPUs by number"):
        OpenOptions(device=device)


def test_candidates_stay_within_what_gpus_can_give():
    index = faiss.IndexFlatIP(4)
    index.add(np.eye(4, dtype=np.float32).repeat(1000, axis=0))
    found = gpu_candidates(index)(np.eye(4, dtype=np.float32), 3000)
    assert found.shape == (4, 2048)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "sq8"])
def test_equal_rows_are_ordered_by_id_where_a_gpu_keeps_them_coarser(
    tmp_path, monkeypatch, precision
):
    """Only the GPU is missing: FAISS searches the float16 rows, and their order, on the CPU."""

    def rows_of_a_gpu(rows, gpus):
        index = faiss.IndexScalarQuantizer(
            rows.dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        index.train(rows.read(slice(None)))
        index.add(rows.read(slice(None)))
        return index

    random = np.random.default_rng(0)
    rows = random.standard_normal((1_000, 32), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[220:320] = rows[0]
    store_vectors(rows, tmp_path, precision)
    facts = measure_rows(open_stored(tmp_path, precision, *rows.shape))
    settings = {"precision": precision, "dimension": 32, "max_norm": facts.max_norm}
    settings["bf16_error"] = facts.bf16_error
    id_rank = random.permutation(len(rows)).astype(np.int32)
    expected = open_vectors(tmp_path, "flat", settings, id_rank, OpenOptions())
    monkeypatch.setattr("retriever.indexes.dense.pick_gpus", lambda device: (0,))
    monkeypatch.setattr("retriever.indexes.dense.shard_rows", rows_of_a_gpu)
    found = open_vectors(tmp_path, "flat", settings, id_rank, OpenOptions(device="cuda"))
    for top_k in (3, 50, 101):
        for of_cpu, of_gpu in zip(
            expected.search(rows[:20], top_k), found.search(rows[:20], top_k), strict=True
        ):
            assert (of_cpu == of_gpu).all()


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda:0", "cuda"])
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_gpus_find_what_the_cpu_finds(tmp_path, kind, device):
    from retriever.indexes.ann_build import write_vectors
    from retriever.options import BuildOptions

    rows = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows.tofile(tmp_path / ENCODED)
    facts = measure_rows(StoredVectors(rows, "fp32"))
    settings = {"precision": "fp32", "dimension": 64, "max_norm": facts.max_norm}
    settings["bf16_error"] = facts.bf16_error
    if kind == "ivf":
        settings = write_vectors("ivf", rows, tmp_path, BuildOptions(nlist=20))
        settings["nprobe"] = 20
        assert (tmp_path / FAISS_FILE).is_file()
    id_rank = np.arange(len(rows), dtype=np.int32)
    on_cpu = open_vectors(tmp_path, kind, settings, id_rank, OpenOptions())
    on_gpu = open_vectors(tmp_path, kind, settings, id_rank, OpenOptions(device=device))
    for expected, found in zip(
        on_cpu.search(rows[:50], 10), on_gpu.search(rows[:50], 10), strict=True
    ):
        assert (expected == found).all()
