import shutil

import numpy as np
import pytest

from retriever.encoders.encoder import Encoder, check_encoder_folder, open_encoder
from retriever.encoders.presets import PRESETS, find_preset
from retriever.errors import EncoderError

TEXTS = ["a passage", "another one that is longer", "z"]


@pytest.fixture(scope="module")
def bert(encoder_folder, tmp_path_factory):
    """The tiny encoder as a plain Hugging Face folder, which says nothing of pooling."""
    return encoder_folder.parent / "bert"


@pytest.fixture(scope="module")
def named(bert, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return lambda name: shutil.copytree(bert, root / name, dirs_exist_ok=True)


def by_transformers(folder, texts, pooling):
    """Encode one text at a time, with nothing of ours."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state for text in texts]
    pooled = [state[0, 0] if pooling == "cls" else state[0].mean(0) for state in states]
    return torch.stack(pooled).numpy()


@pytest.mark.parametrize(
    ("folder", "preset"),
    [
        ("e5-base-v2", "e5"),
        ("multilingual-e5-large", "e5"),
        ("models--intfloat--e5-small/snapshots/0123abc", "e5"),
        ("bge-large-en-v1.5", "bge"),
        ("bge-m3", "bge-m3"),
        ("contriever-msmarco", "contriever"),
        ("mcontriever", "contriever"),
        ("dpr-single-nq", "dpr"),
        ("all-MiniLM-L6-v2", "minilm"),
        ("all_minilm_l6_v2", "minilm"),
        ("multilingual-e5-large-instruct", None),
        ("e5-mistral-7b-instruct", None),
        ("bge-large-zh-v1.5", None),
        ("cadpr", None),
        ("my-encoder", None),
    ],
)
def test_a_family_is_known_by_the_name_of_its_folder(tmp_path, folder, preset):
    assert find_preset(tmp_path / folder) == (PRESETS[preset] if preset else None)


def test_a_family_is_known_by_the_name_in_the_configuration(tmp_path):
    (tmp_path / "config.json").write_text('{"_name_or_path": "intfloat/e5-base"}')
    assert find_preset(tmp_path) == PRESETS["e5"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pooling", "prefixes", "is_normalized"),
    [
        ("e5-base-v2", "mean", ("query: ", "passage: "), True),
        (
            "bge-base-en-v1.5",
            "cls",
            ("Represent this sentence for searching relevant passages: ", ""),
            True,
        ),
        ("contriever", "mean", ("", ""), False),
    ],
)
def test_a_plain_folder_is_used_as_its_family_was_trained(
    named, name, pooling, prefixes, is_normalized
):
    folder = named(name)
    encoder = Encoder(folder, precision="fp32")
    facts = encoder.facts
    assert (facts.pooling, facts.is_normalized) == (pooling, is_normalized)
    assert (facts.query_prefix, facts.passage_prefix) == prefixes
    assert (facts.dimension, facts.max_tokens) == (32, 128)
    for encode, prefix in zip(
        (encoder.encode_queries, encoder.encode_passages), prefixes, strict=True
    ):
        expected = by_transformers(folder, [prefix + text for text in TEXTS], pooling)
        if is_normalized:
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        assert np.allclose(encode(TEXTS), expected, atol=1e-4)


def test_dpr_has_one_model_for_queries_and_one_for_passages(tmp_path, bert):
    import torch
    from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    towers = {}
    for name, tower in (
        ("question_encoder", DPRQuestionEncoder),
        ("ctx_encoder", DPRContextEncoder),
    ):
        config = DPRConfig.from_pretrained(bert)
        torch.manual_seed(len(name))
        folder = tmp_path / "dpr" / f"{name}-single-nq-base"
        shutil.copytree(bert, folder)
        towers[name] = tower(config).eval()
        towers[name].save_pretrained(folder)
    encoder = Encoder(tmp_path / "dpr", precision="fp32")
    assert (encoder.facts.pooling, encoder.facts.is_normalized) == ("cls", False)
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(bert)(TEXTS[1], return_tensors="pt")
    for name, encode in (
        ("question_encoder", encoder.encode_queries),
        ("ctx_encoder", encoder.encode_passages),
    ):
        with torch.inference_mode():
            expected = towers[name](**ids).pooler_output.numpy()
        assert np.allclose(encode(TEXTS)[1:2], expected, atol=1e-4)


def test_what_the_caller_says_comes_before_the_preset(named):
    encoder = Encoder(named("e5-small"), query_prefix="q: ", pooling="cls", precision="fp32")
    assert (encoder.facts.query_prefix, encoder.facts.passage_prefix) == ("q: ", "passage: ")
    assert encoder.facts.pooling == "cls"
    assert Encoder(named("unknown"), preset="contriever").facts.is_normalized is False


def test_a_plain_folder_of_no_known_family_needs_a_pooling(named):
    folder = named("unknown")
    with pytest.raises(EncoderError, match="give --pooling mean or cls, or --encoder-preset"):
        Encoder(folder)
    assert Encoder(folder, pooling="mean").facts.pooling == "mean"
    with pytest.raises(EncoderError, match="unknown encoder preset 'e6'; choose one of: e5, bge"):
        Encoder(folder, preset="e6")


def test_a_pooling_other_than_the_folders_own_is_refused(encoder_folder):
    with pytest.raises(EncoderError, match="has pooling mean, not cls"):
        Encoder(encoder_folder, pooling="cls")


def test_an_encoder_is_opened_again_as_it_was_at_build_time(named):
    from dataclasses import asdict

    folder = named("unknown")
    built = Encoder(folder, pooling="cls", preset="contriever")
    opened = open_encoder(folder, asdict(built.facts))
    assert opened.facts == built.facts
    assert np.array_equal(opened.encode_queries(TEXTS), built.encode_queries(TEXTS))


def test_a_folder_of_neither_kind_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(EncoderError, match=r"no sentence-transformers model at .*config\.json"):
            check_encoder_folder(folder)


def test_a_static_embedding_is_left_to_sentence_transformers(tmp_path, bert):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert).backend_tokenizer
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    model.save(str(tmp_path / "static"), create_model_card=False)
    expected = model.encode(["q: a b"], normalize_embeddings=True)
    found = Encoder(tmp_path / "static", query_prefix="q: ", precision="fp32").encode_queries(
        ["a b"]
    )
    assert np.allclose(found, expected, atol=1e-6)
