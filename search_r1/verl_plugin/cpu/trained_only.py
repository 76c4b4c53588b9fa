"""What an update need not compute: logits of tokens nobody trains, and rows without advantage.

Question and passages are most of a trajectory's tokens, and the vocabulary's matrix is a fifth of a
small model. Both savings leave every gradient as it was.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.engine.utils import prepare_micro_batches


class TrainedLogits:
    """Mixed into verl's language model engines: logits only where the next token is trained.

    Log-probs and entropies of other places are 0, as rollouts record them for observations. verl
    multiplies these places by the mask, so nothing sees the difference.
    """

    module: Any
    _kept: torch.Tensor | None = None  # (K,) places in the packed row that get logits
    _packed_tokens: int = 0

    def prepare_model_inputs(
        self, micro_batch: TensorDict
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prepare as verl does, and name the places that need logits to the model."""
        inputs, args = super().prepare_model_inputs(micro_batch)  # type: ignore[misc]
        self._kept = self._places(micro_batch) if args.get("pad_size") == 0 else None
        if self._kept is not None:
            self._packed_tokens = inputs["input_ids"].shape[1]
            inputs["logits_to_keep"] = self._kept
            for name in ("input_ids_rmpad_rolled", "temperature_rmpad"):
                args[name] = args[name][self._kept]
        return inputs, args

    def _places(self, micro_batch: TensorDict) -> torch.Tensor | None:
        """Find the places before trained tokens; None where all logits are needed or unknown."""
        is_whole = tu.get_non_tensor_data(micro_batch, "distillation_use_topk", default=False)
        if is_whole or not _takes_places(self.module):
            return None
        mask = trained_mask(micro_batch)
        if mask is None:
            return None
        places = torch.roll(mask, shifts=-1).nonzero().flatten()
        return places if len(places) else places.new_zeros(1)  # a model wants one place at least

    def _gather_and_unpad_packed(self, tensor: torch.Tensor, pad_size: int) -> torch.Tensor:
        """Put what was computed back into its places of the packed row."""
        if self._kept is None:
            gathered: torch.Tensor = super()._gather_and_unpad_packed(tensor, pad_size)  # type: ignore[misc]
            return gathered
        whole = tensor.new_zeros(self._packed_tokens)
        return whole.index_copy(0, self._kept, tensor)


def trained_mask(micro_batch: TensorDict) -> torch.Tensor | None:
    """Give the loss mask of whole packed sequences, shape (T,); None when the batch has none.

    verl's supervised batches mask whole sequences, those of reinforcement learning the response.
    """
    if "loss_mask" not in micro_batch or not micro_batch["input_ids"].is_nested:
        return None
    masks, rows = micro_batch["loss_mask"], micro_batch["input_ids"]
    if not masks.is_nested:
        return None
    whole = torch.zeros_like(rows.values())
    lengths = rows.offsets().diff().tolist()
    ends = rows.offsets()[1:].tolist()
    for mask, length, end in zip(masks.unbind(), lengths, ends, strict=True):
        if len(mask) > length:
            return None
        whole[end - len(mask) : end] = mask.to(whole.dtype)
    return whole


def prepare_trained_micro_batches(data: TensorDict, **options: Any) -> Any:
    """Split a batch as verl does, without the rows that have no advantage and so no gradient.

    In a group whose rewards are all equal every advantage is 0. verl has counted the tokens of the
    whole batch before, so what is left is weighed as it was.
    """
    return prepare_micro_batches(data=_with_advantage(data), **options)


def _with_advantage(data: TensorDict) -> TensorDict:
    adds_entropy = tu.get_non_tensor_data(data, "calculate_entropy", default=False)
    # Micro-batches of a fixed size need a number of rows that it divides.
    is_packed = tu.get_non_tensor_data(data, "use_dynamic_bsz", default=True)
    if not is_packed or "advantages" not in data or "ref_log_prob" in data or adds_entropy:
        return data
    masks = data["response_mask"].unbind()
    has_gradient = [
        bool((advantage * mask).any())
        for advantage, mask in zip(data["advantages"].unbind(), masks, strict=True)
    ]
    if all(has_gradient):
        return data
    chosen = [row for row, kept in enumerate(has_gradient) if kept] or [0]
    return tu.index_select_tensor_dict(data, chosen)


def _takes_places(module: Any) -> bool:
    """Tell whether a model's forward can be told where logits are wanted."""
    forward = getattr(type(module), "forward", None)
    return forward is not None and "logits_to_keep" in inspect.signature(module.forward).parameters
