"""How demonstrations reach verl's supervised trainer: rows, masks, batches of pairs."""

import functools
import json

import pytest

from search_r1.cold_start import ColdStartConfig

pytestmark = pytest.mark.slow  # imports verl


@pytest.fixture(scope="module")
def cold_start():
    return pytest.importorskip("search_r1.verl_plugin.cold_start")


def batches(sampler, size, epoch=0):
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(sampler)
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


@pytest.mark.parametrize("size", [2, 4, 10])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_half_of_every_batch_searches_on_every_replica(cold_start, size, replicas):
    dataset = range(2 * 31)  # the searching demonstration of a question has the odd number
    for rank in range(replicas):
        sampler = cold_start.PairSampler(dataset, num_replicas=replicas, rank=rank, drop_last=True)
        made = batches(sampler, size)
        assert made
        for batch in made:
            assert sum(number % 2 for number in batch) == size // 2
            assert {number // 2 for number in batch[::2]} == {number // 2 for number in batch[1::2]}


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_share_the_questions_without_one_seen_twice(cold_start, replicas):
    dataset = range(2 * 31)
    shares = [
        list(cold_start.PairSampler(dataset, num_replicas=replicas, rank=rank))
        for rank in range(replicas)
    ]
    assert {len(share) for share in shares} == {2 * (31 // replicas)}
    seen = [number for share in shares for number in share]
    assert len(set(seen)) == len(seen) == 2 * (31 // replicas) * replicas


def test_the_order_is_the_seeds_and_the_epochs(cold_start):
    def order(seed, epoch):
        sampler = cold_start.PairSampler(range(40), num_replicas=1, rank=0, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(5, 0)
    assert sorted(order(0, 0)) == list(range(40))


def test_a_row_is_trained_where_the_model_wrote(cold_start, tmp_path):
    record = {"prompt_ids": [5, 6], "response_ids": [7, 8, 9, 10], "response_mask": [1, 0, 0, 1]}
    path = tmp_path / "demonstrations.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps(record | {"response_mask": [1] * 4}))
    rows = cold_start.Demonstrations(str(path), tokenizer=None, config={})
    assert len(rows) == 2
    assert {key: value.tolist() for key, value in rows[0].items()} == {
        "input_ids": [5, 6, 7, 8, 9, 10],
        "position_ids": [0, 1, 2, 3, 4, 5],
        "loss_mask": [0, 0, 1, 0, 0, 1],
    }
    assert rows[1]["loss_mask"].tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("size", "processes"), [(10, 2), (6, 2), (10, 4), (2, 2)])
def test_a_batch_that_would_split_pairs_is_refused(cold_start, monkeypatch, size, processes):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    wanted = functools.partial(ColdStartConfig, "q.parquet")
    with pytest.raises(ValueError, match=f"with {processes} GPUs make it a multiple of"):
        cold_start._check_shares(wanted(batch_size=size))
    cold_start._check_shares(wanted(batch_size=2 * processes * 3))


def test_a_model_that_was_taken_already_is_kept(cold_start, tmp_path, monkeypatch):
    """A stop between taking the model and writing the receipt loses nothing."""
    monkeypatch.setattr(cold_start, "inputs_of", lambda config: {"of": "the test"})
    wanted = ColdStartConfig("q.parquet", num_questions=2, batch_size=4)
    last = tmp_path / "checkpoints" / "global_step_1"
    (last / "huggingface").mkdir(parents=True)
    (last / "huggingface" / "model.safetensors").write_bytes(b"weights")
    step = {"step": 1, "train/loss": 2.0, "train/global_tokens": 90}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(step) + "\n")
    cold_start._keep_model({}, tmp_path, wanted, 3.21)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == b"weights"
    receipt = json.loads((tmp_path / "cold_start.json").read_text())
    assert receipt["inputs"] == {"of": "the test"}
    assert (receipt["updates"], receipt["seconds"], receipt["tokens"]) == (1, 3.2, 90)
    last.mkdir(parents=True)  # as it is when the checkpoint was only half removed
    cold_start._keep_model({}, tmp_path, wanted, 3.21)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == b"weights"
    assert not (tmp_path / "checkpoints").exists()
