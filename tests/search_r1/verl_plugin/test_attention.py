"""Packed attention computes what the model's own attention does, or says that it cannot."""

import pytest

pytestmark = pytest.mark.slow  # imports torch and transformers

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
POSITIONS = [*range(7), *range(4), *range(6)]  # three packed sequences


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    import search_r1.verl_plugin.cpu.attention  # noqa: F401  registers it

    torch.manual_seed(0)
    return torch


def logits_of(torch, kind, attention, rows, **options):
    """Give a model's logits for rows of (ids, positions), the same weights for every attention."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SIZES, **options)
    config._attn_implementation = attention
    torch.manual_seed(1)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        return [
            model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
            for ids, positions in rows
        ]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("Llama", {}), ("Qwen2", {}), ("Mistral", {"sliding_window": 7})],
)
def test_packed_sequences_get_what_each_gets_alone(torch, kind, options):
    """A window that no sequence is longer than changes nothing."""
    ids, positions = torch.randint(64, (1, 17)), torch.tensor([POSITIONS])
    (packed,) = logits_of(torch, kind, "search_r1_packed", [(ids, positions)], **options)
    parts = list(zip(ids.split([7, 4, 6], 1), positions.split([7, 4, 6], 1), strict=True))
    alone = torch.cat(logits_of(torch, kind, "eager", parts, **options))
    assert torch.allclose(packed, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Mistral", {"sliding_window": 6}, "sliding_window=6 over sequences of up to 7 tokens"),
        ("Gemma2", {"sliding_window": 64}, "softcap=50.0"),
        ("Gemma2", {"sliding_window": 4, "attn_logit_softcapping": None}, "sliding_window=4 over"),
    ],
)
def test_another_attention_than_it_computes_is_refused(torch, kind, options, message):
    row = torch.randint(64, (1, 17)), torch.tensor([POSITIONS])
    with pytest.raises(ValueError, match=message):
        logits_of(torch, kind, "search_r1_packed", [row], **options)
