"""Small Llamas: one that searches and answers by chance, and one that does both by construction."""

import itertools

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CALLS = ["<search>Dracula novel</search>", "<search>Seine river</search>"]
HERMES = '<tool_call>\n{"name": "search", "arguments": {"query": "Dracula novel"}}\n</tool_call>'
TAGS = [*CALLS, HERMES, "<answer>Bram Stoker</answer>", "<search>", "</search>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
WORDS = [" Dracula", " novel", " author", " Dublin", " Stoker", " Seine", " Paris", " river"]
# Along a direction every hidden state shares, so that these tokens are likely everywhere.
_WORD_BOOST, _TAG_BOOST = 1.2, 1.8
# What follows on what in the other model: a search on a question, an answer on passages, and an
# answer right away on a line that is no question.
CHAINS = [
    ["\n", "<search>", " Dracula", " novel", "</search>"],
    ["</information>\n", "<answer>", " Stoker", "</answer>"],
    [".\n", "<answer>"],
]


def save_tiny_model(folder):
    """Write a model and its tokenizer to a folder."""
    tokenizer = _tokenizer(TAGS + WORDS)
    tokenizer.save_pretrained(folder)
    model = _model(tokenizer, max_position_embeddings=1024, tie_word_embeddings=True)
    with torch.no_grad():
        embeddings = model.get_input_embeddings().weight
        embeddings[:, 0] = 4.0
        embeddings[tokenizer.convert_tokens_to_ids(WORDS), 0] += _WORD_BOOST
        embeddings[tokenizer.convert_tokens_to_ids(TAGS), 0] += _TAG_BOOST
    model.to(torch.bfloat16).save_pretrained(folder)


def save_chained_model(folder):
    """Write a model to a folder whose next token depends on the last one alone, by ``CHAINS``.

    It leaves no choice to sampling, on whatever processor: the next token's logit is some 50 above
    every other one.
    """
    tokens = list(dict.fromkeys(token for chain in CHAINS for token in chain if token != "\n"))
    tokenizer = _tokenizer(tokens)
    tokenizer.save_pretrained(folder)
    model = _model(tokenizer, max_position_embeddings=4096, tie_word_embeddings=False)
    with torch.no_grad():
        for layer in model.model.layers:  # nothing but the embedding reaches the head
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embeddings, head = model.get_input_embeddings().weight, model.lm_head.weight
        head.zero_()
        for chain in CHAINS:
            ids = [tokenizer.encode(token)[0] for token in chain]
            for last, following in itertools.pairwise(ids):
                head[following] += embeddings[last] / embeddings[last].square().mean() ** 0.5 / 2
    model.to(torch.bfloat16).save_pretrained(folder)


def _model(tokenizer, **settings):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,  # 64 wide, which vLLM's CPU attention serves
        num_key_value_heads=1,
        initializer_range=0.1,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    return LlamaForCausalLM(config)


def _tokenizer(added):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
