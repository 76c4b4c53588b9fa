"""Fixtures every test may use: passages, questions, real tokenizers built or found on disk."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.run_readers import read_lines

# No test depends on speed: a busy machine takes longer over an example, and that is all.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# Ray's workers are nice by default, so that on a busy machine they would stand still.
os.environ.setdefault("RAY_worker_niceness", "0")

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tiny"


@pytest.fixture(scope="session")
def tiny_passages():
    """Twelve passages as dicts with id, title and text."""
    return read_lines(TINY / "passages.jsonl")


@pytest.fixture(scope="session")
def tiny_questions():
    """Six questions as dicts with id, question, gold_answers and passage_ids."""
    return read_lines(TINY / "questions.jsonl")


@pytest.fixture(scope="session")
def artifacts_dir():
    """Where downloaded models and corpora are, if they are."""
    return Path(os.environ.get("SEARCH_R1_ARTIFACTS") or ROOT / "artifacts")


@pytest.fixture(scope="session")
def bpe_tokenizer(tiny_passages):
    """A GPT-2 style byte-level BPE trained here, its padding and end-of-text token the same.

    Its vocabulary has the token ">.", so that "</search>." overruns the stop string.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tags = ["<search>a</search>.", "<answer>a</answer>.", "<information>a</information>\n"]
    texts = [*(f"{p['title']} {p['text']}" for p in tiny_passages), *tags * 50]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|end|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=["<|user|>"],
    )


@pytest.fixture(scope="session")
def smollm2_tokenizer(artifacts_dir):
    """The tokenizer of the quickstart's model; skips where it was not downloaded."""
    folder = artifacts_dir / "models" / "smollm2-135m-instruct"
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"no tokenizer in {folder}; ./train.sh quickstart downloads it")
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="session")
def llama3_tokenizer(tiny_passages):
    """A byte-level BPE as Llama 3's: its pre-tokenizer, its headers, merges skipped for words."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    headers = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=headers,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tags = ["<tool_call>\n", "</tool_call>.", "<search>a</search>.", "<answer>a</answer>."]
    texts = [*(f"{p['title']} {p['text']}" for p in tiny_passages), *tags * 50]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|eot_id|>",
        pad_token="<|eot_id|>",
        additional_special_tokens=headers,
    )


@pytest.fixture(scope="session")
def mistral_tokenizer(tmp_path_factory):
    """Mistral's own SentencePiece tokenizer, which comes with its library."""
    library = pytest.importorskip("mistral_common")
    from transformers import LlamaTokenizer

    shipped = Path(library.__file__).parent / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    folder = tmp_path_factory.mktemp("mistral")
    (folder / "tokenizer.model").write_bytes(shipped.read_bytes())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    return LlamaTokenizer.from_pretrained(folder, pad_token="</s>")


@pytest.fixture(scope="session", params=["bpe", "smollm2", "llama3", "mistral"])
def tokenizer(request):
    """Each real tokenizer in turn."""
    return request.getfixturevalue(f"{request.param}_tokenizer")
