"""What OpenVINO compiles gives torch's vectors, or torch goes on."""

import logging

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("torch")

import torch
from transformers import BertModel

from retriever.encoder import Encoder
from retriever.openvino_model import compile_module
from tests.tiny_bert import save_tiny_bert

IDS, MASK = np.array([[7, 8, 9], [5, 6, 0]]), np.array([[1, 1, 1], [1, 1, 0]])


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


def test_a_compiled_module_gives_torchs_vectors():
    module = Mean()
    embed = compile_module(module, torch.float32, 50)
    wanted = module(torch.from_numpy(IDS), torch.from_numpy(MASK)).detach().numpy()
    found = embed(IDS, MASK)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    embed(IDS[:1], MASK[:1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)  # the next call wrote elsewhere


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Unconvertible(), "by tracing"), (Mean(heeds_mask=False), "its vectors differ")],
)
def test_torch_goes_on_where_openvino_would_be_wrong(module, reason, caplog):
    with caplog.at_level(logging.WARNING):
        assert compile_module(module, torch.float32, 50) is None
    assert reason in caplog.text


def test_precisions_that_openvino_lacks_stay_with_torch(caplog):
    assert compile_module(Mean(), torch.float16, 50) is None
    assert not caplog.text


def test_an_encoder_gives_the_same_vectors_by_either_engine(tmp_path):
    folder = save_tiny_bert(tmp_path / "e5-tiny", BertModel, seed=1)
    texts = ["one", "two three", "", "a longer text, with 16 words or so " * 4]
    by_torch, by_openvino = (
        Encoder(folder, precision="fp32", engine=engine).encode_queries(texts)
        for engine in ("torch", None)
    )
    np.testing.assert_allclose(by_openvino, by_torch, atol=1e-5)
