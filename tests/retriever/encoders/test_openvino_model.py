"""What OpenVINO compiles gives torch's vectors, or torch goes on."""

import logging
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("torch")

import torch
from transformers import BertModel, RobertaConfig, RobertaModel

from retriever.encoders.compiled_reader import LoadedModel, find_compiled_reader
from retriever.encoders.encoder import Encoder
from retriever.encoders.openvino_model import compile_module
from retriever.encoders.text_models import load_text_model
from retriever.encoders.text_readers import PackedReader, PaddedReader
from tests.tiny_bert import save_tiny_bert

IDS, MASK = np.array([[7, 8, 9], [5, 6, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
TEXTS = ["one", "two three", "", "a longer text, with 16 words or so " * 3, "x " * 50]


class Mean(torch.nn.Module):
    """The mean embedding of a text's tokens; ``heeds_mask`` as it should, or not."""

    def __init__(self, heeds_mask=True):
        super().__init__()
        self.rows, self.heeds_mask = torch.nn.Embedding(50, 8), heeds_mask

    def forward(self, input_ids, attention_mask):
        if torch.jit.is_tracing() and not self.heeds_mask:
            attention_mask = torch.ones_like(attention_mask)
        weights = attention_mask.unsqueeze(-1).float()
        return (self.rows(input_ids) * weights).sum(1) / weights.sum(1)


class Unconvertible(Mean):
    def forward(self, input_ids, attention_mask):
        if torch.jit.is_tracing():
            raise TypeError("no graph of this")
        return super().forward(input_ids, attention_mask)


def load(module):
    return LoadedModel(module, None, "mean", False, dimension=8, most_ids=50, pad_id=0)


def test_the_next_call_does_not_change_what_the_last_gave():
    run = compile_module(Mean(), [IDS, MASK], torch.float32)
    found = run(IDS, MASK)
    kept = found.copy()
    run(IDS[::-1].copy(), MASK[::-1].copy())
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Unconvertible(), "by tracing"), (Mean(heeds_mask=False), "its vectors differ")],
)
def test_torch_goes_on_where_openvino_would_be_wrong(module, reason, caplog):
    with caplog.at_level(logging.WARNING):
        assert find_compiled_reader(load(module), torch.float32) is None
    assert reason in caplog.text


def test_precisions_that_openvino_lacks_stay_with_torch(caplog):
    assert find_compiled_reader(load(Mean()), torch.float16) is None
    assert not caplog.text


def test_models_that_cannot_be_packed_are_padded():
    reader = find_compiled_reader(load(Mean()), torch.float32)
    assert isinstance(reader, PaddedReader)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_an_encoder_gives_the_same_vectors_by_either_engine(tmp_path, pooling):
    folder = save_tiny_bert(tmp_path / "tiny", BertModel, seed=1)
    by_torch, by_openvino = (
        Encoder(folder, pooling=pooling, precision="fp32", engine=engine).encode_queries(TEXTS)
        for engine in ("torch", None)
    )
    np.testing.assert_allclose(by_openvino, by_torch, atol=1e-5)


@pytest.mark.slow
def test_roberta_counts_positions_from_after_its_padding_id(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(
        vocab_size=50, intermediate_size=64, max_position_embeddings=80, pad_token_id=1, **sizes
    )
    core = RobertaModel(config, add_pooling_layer=False).eval()

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.core = core

        def forward(self, input_ids, attention_mask):
            return self.core(input_ids, attention_mask).last_hidden_state[:, 0]

    loaded = replace(load(First()), core=core, pooling="cls", dimension=32, pad_id=1)
    reader = find_compiled_reader(loaded, torch.float32)
    assert isinstance(reader, PackedReader)
    assert reader.first_position == 2


@pytest.mark.slow
def test_packed_texts_do_not_see_each_other(tmp_path):
    folder = save_tiny_bert(tmp_path / "tiny", BertModel, seed=1)
    reader = load_text_model(folder, "mean", precision="fp32").reader
    assert isinstance(reader, PackedReader)
    texts = [[5, 6, 7], [8], [9, 10], [11] * 90, [], [12] * 6]
    together = reader.read(texts, 64)
    np.testing.assert_allclose(together, [reader.read([text], 1)[0] for text in texts], atol=1e-5)
    np.testing.assert_array_equal(together[4], np.zeros(32))
    np.testing.assert_allclose(reader.read(texts, 2), together, atol=1e-5)
    assert reader.read([], 64).shape == (0, 32)
