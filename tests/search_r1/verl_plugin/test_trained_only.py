"""What an update leaves out changes no gradient, through verl's own engine, in either type.

A processor without bf16 emulates it, so both types run on any machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("engine_gradients.py")
RELATIVE = {"fp32": 1e-4, "bf16": 0.05}  # bf16 rounds at 2 ** -8, and sums in another order

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.tiny_model import save_tiny_model  # imports torch

    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def measured(request, model):
    """The type, and what the script measured in it: one process per type, once."""
    command = [sys.executable, str(SCRIPT), str(model), request.param]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return request.param, json.loads(done.stdout.splitlines()[-1])


def test_the_engine_multiplies_in_the_type_that_was_chosen(measured):
    dtype, result = measured
    assert result["dtypes"] == [{"fp32": "torch.float32", "bf16": "torch.bfloat16"}[dtype]]


def test_rows_without_advantage_or_trained_token_are_left_out(measured):
    _, result = measured
    assert result["rows"] == {"mixed": 3, "one_left": 1, "none_left": 1, "supervised": 6}


def test_gradients_are_those_of_the_whole_batch(measured):
    """With observations, a row masked out as a whole, rows without advantage, and supervised."""
    dtype, result = measured
    assert set(result["distance"]) == {"mixed", "one_left", "supervised"}
    assert max(result["distance"].values()) <= RELATIVE[dtype]
    assert min(result["largest"][name] for name in result["distance"]) > 0.01


def test_a_batch_without_any_advantage_moves_nothing(measured):
    _, result = measured
    assert (result["largest"]["none_left"], result["largest_ours"]["none_left"]) == (0.0, 0.0)


def test_log_probs_of_trained_tokens_are_the_same_and_others_are_zero(measured):
    dtype, result = measured
    assert result["log_prob_distance"] <= {"fp32": 1e-5, "bf16": 0.05}[dtype]
    assert result["others"] == 0.0
    assert result["others_plain"] > 0.1, "computed in full, other places have log-probs too"


def test_the_mask_of_packed_rows_is_found_for_responses_and_for_whole_rows():
    torch = pytest.importorskip("torch")
    tensordict = pytest.importorskip("tensordict")
    from search_r1.verl_plugin.cpu.trained_only import trained_mask

    def nest(*rows):
        return torch.nested.as_nested_tensor([torch.tensor(r) for r in rows], layout=torch.jagged)

    def mask_of(**content):
        mask = trained_mask(tensordict.TensorDict(content, batch_size=2))
        return None if mask is None else mask.tolist()

    ids = nest([5, 6, 7, 8], [9, 10, 11])
    assert mask_of(input_ids=ids, loss_mask=nest([1, 0], [0, 1])) == [0, 0, 1, 0, 0, 0, 1]
    whole = nest([0, 1, 1, 0], [0, 0, 1])
    assert mask_of(input_ids=ids, loss_mask=whole) == [0, 1, 1, 0, 0, 0, 1]
    assert mask_of(input_ids=ids) is None
    assert mask_of(input_ids=ids, loss_mask=nest([1] * 5, [1])) is None, "longer than its row"
    assert mask_of(input_ids=torch.ones(2, 4), loss_mask=torch.ones(2, 4)) is None


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [0, 2]),
        ({"calculate_entropy": False}, [0, 2]),
        ({"calculate_entropy": True}, [0, 1, 2, 3]),
        ({"use_dynamic_bsz": False}, [0, 1, 2, 3]),
    ],
)
def test_rows_are_left_out_only_where_nothing_else_trains_them(options, kept):
    torch = pytest.importorskip("torch")
    tensordict = pytest.importorskip("tensordict")
    from verl.utils import tensordict_utils as tu

    from search_r1.verl_plugin.cpu.trained_only import _with_advantage

    def nest(rows):
        return torch.nested.as_nested_tensor([torch.tensor(r) for r in rows], layout=torch.jagged)

    content = {
        "input_ids": nest([[0, 0], [1, 1], [2, 2, 2], [3, 3]]),
        "advantages": nest([[0.5, 0.5], [0.0, 0.0], [-1.0, -1.0, 0.0], [2.0, 2.0]]),
        "response_mask": nest([[1, 0], [1, 1], [1, 1, 1], [0, 0]]),
    }
    batch = tensordict.TensorDict(content, batch_size=4)
    tu.assign_non_tensor(batch, **options)
    rows = _with_advantage(batch)["input_ids"].unbind()
    assert [int(row[0]) for row in rows] == kept
    with_reference = tensordict.TensorDict(
        content | {"ref_log_prob": content["advantages"]}, batch_size=4
    )
    assert _with_advantage(with_reference) is with_reference
