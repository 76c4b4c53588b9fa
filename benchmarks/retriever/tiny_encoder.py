"""A real encoder with random weights, small enough to encode 300,000 passages in a minute."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

DIMENSION = 32
_WORDS = 2_000
_MAX_TOKENS = 32


def make_words() -> list[str]:
    """Return the words that the encoder knows and the texts are made of."""
    return [f"word{number}" for number in range(_WORDS)]


def make_passages(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield passages of 5 to 15 known words."""
    draw, words = random.Random(seed), make_words()
    for number in range(count):
        text = " ".join(draw.choices(words, k=draw.randint(5, 15)))
        yield {"id": str(number), "title": "", "text": text}


def save_tiny_encoder(folder: Path) -> Path:
    """Write a one-layer BERT as a sentence-transformers folder; gives the folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert = folder / "bert"
    bert.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *make_words()]
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=DIMENSION,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * DIMENSION,
        max_position_embeddings=_MAX_TOKENS,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=_MAX_TOKENS), Pooling(DIMENSION, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(
        str(folder / "model"), create_model_card=False
    )
    return folder / "model"
