"""Fixtures every test may use: passages, questions, real tokenizers built or found on disk."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tiny"


def _read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def tiny_passages():
    """Twelve passages as dicts with id, title and text."""
    return _read_lines(TINY / "passages.jsonl")


@pytest.fixture(scope="session")
def tiny_questions():
    """Six questions as dicts with id, question, gold_answers and passage_ids."""
    return _read_lines(TINY / "questions.jsonl")


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


@pytest.fixture(scope="session", params=["bpe", "smollm2"])
def tokenizer(request):
    """Each real tokenizer in turn."""
    return request.getfixturevalue(f"{request.param}_tokenizer")
