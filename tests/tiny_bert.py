"""A two-layer BERT with random weights that knows letters, for tests that need no sense."""

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:\"'()-"


def save_tiny_bert(folder, model_class, seed, letters=LETTERS, **settings):
    """Write model and tokenizer as a Hugging Face folder; ``settings`` go into its config."""
    import torch
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        **settings,
    )
    torch.manual_seed(seed)
    model_class(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
