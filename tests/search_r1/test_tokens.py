import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from search_r1.assembly import FormatConfig, assemble
from search_r1.demo import TokenizerFileCodec
from search_r1.loop import LoopConfig
from search_r1.tokens import HfCodec


def test_no_special_token_is_added_or_recognised(tokenizer, codec):
    for text in [
        "plain",
        tokenizer.eos_token,
        f"a{tokenizer.eos_token}b",
        " ".join(tokenizer.all_special_tokens),
    ]:
        ids = codec.encode(text)
        assert not set(ids) & set(tokenizer.all_special_ids)
        assert codec.decode(ids) == text


def test_a_raw_prompt_begins_as_the_tokenizer_begins_a_text(bpe_tokenizer):
    """Llama and Gemma were trained with a token before every text."""
    opening = copy.deepcopy(bpe_tokenizer)
    user = opening.convert_tokens_to_ids("<|user|>")
    opening.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", user)]
    )
    for tokenizer, ids in ((opening, [user]), (bpe_tokenizer, [])):
        parts = assemble(tokenizer, (), FormatConfig(), LoopConfig(), object())
        encoded = parts.codec.encode("who wrote it?")
        assert tokenizer.encode("who wrote it?") == ids + encoded
        prompt = [{"role": "user", "content": "who wrote it?"}]
        assert parts.style.prompt_ids(prompt) == ids + encoded
        assert user not in parts.style.correction("no", False).ids, "that is no beginning"


def test_special_tokens_that_were_sampled_are_decoded_to_their_text(tokenizer, codec):
    ids = [*codec.encode("done"), tokenizer.eos_token_id, *codec.encode(" x")]
    assert codec.decode(ids) == f"done{tokenizer.eos_token} x"


def test_a_codec_leaves_the_tokenizer_as_it_was(tokenizer, codec):
    codec.encode(tokenizer.eos_token)
    assert tokenizer.encode(tokenizer.eos_token, add_special_tokens=False) == [
        tokenizer.eos_token_id
    ]


@pytest.mark.parametrize(
    "text", ["a , b .", "it 's", " leading", "trailing \n\n", "", "é富🐋", "don ' t ? !"]
)
def test_decoding_cleans_nothing_up(codec, text):
    assert codec.decode(codec.encode(text)) == text


@settings(max_examples=100)
@given(text=st.text(max_size=60), other=st.text(max_size=60))
def test_concatenated_ids_decode_to_concatenated_text(bpe_codec, text, other):
    assert bpe_codec.decode(bpe_codec.encode(text) + bpe_codec.encode(other)) == text + other


def test_end_of_text_ids_are_the_tokenizers_unless_given(bpe_tokenizer):
    assert HfCodec(bpe_tokenizer).eos_ids == (bpe_tokenizer.eos_token_id,)
    assert HfCodec(bpe_tokenizer, [3, 4]).eos_ids == (3, 4)


def test_the_demos_codec_agrees_with_the_real_one(smollm2_tokenizer, artifacts_dir):
    path = artifacts_dir / "models" / "smollm2-135m-instruct" / "tokenizer.json"
    light, real = TokenizerFileCodec(path, "<|im_end|>"), HfCodec(smollm2_tokenizer)
    assert light.eos_ids == real.eos_ids
    for text in ["<search>Škocjan 🐋</search>.\n", "a<|im_end|>b", "", "  two  spaces "]:
        ids = light.encode(text)
        assert ids == real.encode(text)
        assert light.decode([*ids, 2]) == real.decode([*ids, 2])
