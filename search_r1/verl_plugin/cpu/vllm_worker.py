"""Weight updates for vLLM's CPU worker."""

from __future__ import annotations

from typing import Any

import torch
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from search_r1.policies.weights import repack_tied_head


class CPUWorkerExtension(vLLMColocateWorkerExtension):
    """Reload whole weights instead of loading each bucket into place.

    vLLM-CPU packs linear weights for its kernels and empties the originals, so verl's
    ``load_weights`` per bucket has nothing to load into. ``reload_weights`` restores the layers
    first, then packs them again.
    """

    def update_weights_from_ipc(
        self,
        peft_config: dict[str, Any] | None = None,
        base_sync_done: bool = False,
        use_shm: bool = True,
    ) -> None:
        """Receive every weight through shared memory and reload the model.

        Raises:
            ValueError: On a LoRA update, which this path cannot apply.
        """
        if peft_config and base_sync_done:
            raise ValueError(
                "the CPU rollout takes full weights only, but a LoRA adapter arrived; "
                "set actor_rollout_ref.model.lora.merge=True or train without LoRA on the CPU."
            )
        dtype = self.model_runner.model_config.dtype
        received: list[tuple[str, torch.Tensor]] = []
        receiver = BucketedWeightReceiver(
            zmq_handle=self._get_zmq_handle(), device=self.device, use_shm=use_shm
        )
        # Copy: the next bucket reuses the shared buffer, and live views keep it from closing.
        receiver.receive_weights(
            lambda weights, is_last: received.extend(
                (name, tensor.to(dtype, copy=True)) for name, tensor in weights
            )
        )
        self.model_runner.reload_weights(weights_iterator=iter(received))
        repack_tied_head(self.model_runner.model)
