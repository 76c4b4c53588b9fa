import numpy as np
import pytest

from retriever.encoders.encode import CHUNK, encode_store, open_encoders
from retriever.encoders.encoder import Encoder
from retriever.errors import BuildError, EncoderError
from retriever.options import BuildOptions
from retriever.storage.passages import PassageStore, write_store
from retriever.storage.vectors import ENCODED


@pytest.fixture(scope="module")
def store(tmp_path_factory, write_corpus):
    folder = tmp_path_factory.mktemp("store")
    # Lengths differ, so that chunks are sorted inside.
    rows = [{"id": str(n), "text": f"number {n} " + "and so on " * (n % 7)} for n in range(2200)]
    write_store(write_corpus(folder / "c.jsonl", rows), folder)
    return PassageStore(folder)


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return Encoder(encoder_folder)


@pytest.fixture(scope="module")
def whole(store, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    vectors = encode_store(store, folder, encoder, 32, lambda _: None)
    assert vectors.shape == (2200, 32)
    return (folder / ENCODED).read_bytes()


@pytest.mark.slow
def test_row_i_is_the_vector_of_passage_i(store, encoder, whole):
    vectors = np.frombuffer(whole, dtype=np.float32).reshape(2200, 32)
    for at in (0, 5, CHUNK - 1, CHUNK, 2199):
        (alone,) = encoder.encode_passages([store[at].contents])
        assert alone @ vectors[at] > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 1, CHUNK * 128, CHUNK * 128 + 77, 2 * CHUNK * 128, 2200 * 128])
def test_encoding_goes_on_to_the_same_bytes(store, encoder, whole, tmp_path, left):
    (tmp_path / ENCODED).write_bytes(whole[:left])
    told = []
    encode_store(store, tmp_path, encoder, 32, told.append)
    assert (tmp_path / ENCODED).read_bytes() == whole
    assert told[0] == (2200 if left == len(whole) else left // (CHUNK * 128) * CHUNK)
    assert sum(told) == 2200


@pytest.mark.slow
def test_two_devices_share_the_work_and_give_the_same_bytes(store, encoder_folder, whole, tmp_path):
    encoders = open_encoders(BuildOptions(encoder=encoder_folder, devices=("cpu", "cpu")))
    encode_store(store, tmp_path, encoders, 32, lambda _: None)
    assert (tmp_path / ENCODED).read_bytes() == whole


@pytest.mark.slow
def test_finished_chunks_stay_when_encoding_fails(store, encoder, tmp_path):
    class Broken(Encoder):
        def __init__(self):
            self.facts, self.calls = encoder.facts, 0

        def encode_passages(self, passages, batch_size=None):
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("out of memory")
            return encoder.encode_passages(passages, batch_size)

    with pytest.raises(RuntimeError, match="out of memory"):
        encode_store(store, tmp_path, Broken(), 32, lambda _: None)
    assert (tmp_path / ENCODED).stat().st_size == 2 * CHUNK * 128


def test_a_dense_build_without_encoder_is_refused():
    with pytest.raises(BuildError, match="needs an encoder"):
        open_encoders(BuildOptions())


def test_a_precision_that_does_not_exist_is_refused(encoder_folder):
    with pytest.raises(EncoderError, match="precision is 'int3'; expected one of: fp32"):
        Encoder(encoder_folder, precision="int3")
