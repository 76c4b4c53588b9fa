"""verl's workers on a CPU: the gloo process group, the FSDP2 engines, every core for training."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
import verl.utils.model
import verl.workers.config.model
from torch.distributed.fsdp import CPUOffloadPolicy
from transformers import AutoModelForTokenClassification
from verl.utils.model import update_model_config
from verl.workers import engine_workers
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl

import search_r1.verl_plugin.cpu.attention  # noqa: F401  registers the attention function on import
from search_r1.verl_plugin.cpu.trained_only import TrainedLogits, prepare_trained_micro_batches
from search_r1.verl_plugin.progress_update import reporting


def _unpinned_offload_policy(pin_memory: bool = True) -> CPUOffloadPolicy:
    """Make the offload policy of reference models without pinned memory, which needs a device."""
    return CPUOffloadPolicy(pin_memory=False)


def _load_value_model(
    local_path: str, torch_dtype: torch.dtype, model_config: Any, trust_remote_code: bool
) -> torch.nn.Module:
    """Load a critic with the attention its config names; verl insists on FlashAttention for it."""
    model: torch.nn.Module = AutoModelForTokenClassification.from_pretrained(
        local_path, dtype=torch_dtype, config=model_config, trust_remote_code=trust_remote_code
    )
    return model


def _override_config(module_config: Any, override_config_kwargs: dict[str, Any]) -> None:
    """Override as verl does, but for the attention, which it has passed to transformers before.

    As a key of the config it would be saved with the model, and whoever loads that knows no
    attention of this name.
    """
    kept = {k: v for k, v in override_config_kwargs.items() if k != "attn_implementation"}
    update_model_config(module_config, override_config_kwargs=kept)


# verl names the backend "cpu:gloo,<device>:<backend>"; torch refuses it when both are the CPU.
engine_workers.initialize_global_process_group_ray = functools.partial(
    engine_workers.initialize_global_process_group_ray, backend="cpu:gloo"
)
transformer_impl.CPUOffloadPolicy = _unpinned_offload_policy
transformer_impl.prepare_micro_batches = reporting(prepare_trained_micro_batches)
verl.utils.model.load_valuehead_model = _load_value_model
verl.workers.config.model.update_model_config = _override_config


@EngineRegistry.register(model_type="language_model", backend="fsdp2", device="cpu")
class CPUFSDPEngineWithLMHead(TrainedLogits, transformer_impl.FSDPEngineWithLMHead):
    """verl's FSDP2 engine; FSDP1 cannot hold parameters on a CPU."""


@EngineRegistry.register(model_type="value_model", backend="fsdp2", device="cpu")
class CPUFSDPEngineWithValueHead(transformer_impl.FSDPEngineWithValueHead):
    """verl's FSDP2 critic engine."""


def use_every_core() -> None:
    """Undo Ray's single OpenMP thread per actor; ``SEARCH_R1_CPU_THREADS`` sets the count."""
    torch.set_num_threads(
        int(os.environ.get("SEARCH_R1_CPU_THREADS", 0)) or len(os.sched_getaffinity(0))
    )


class CPUActorRolloutRefWorker(engine_workers.ActorRolloutRefWorker):
    """Actor, rollout and reference in one process, on every core."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        use_every_core()
        super().__init__(*args, **kwargs)


class CPUTrainingWorker(engine_workers.TrainingWorker):
    """The critic, on every core."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        use_every_core()
        super().__init__(*args, **kwargs)
