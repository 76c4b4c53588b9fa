"""verl's whole actor update on the CPU platform, against torch alone and against bare products.

All see the same batch of the quickstart's shape. The update has what training needs besides:
micro-batching, FSDP2, the PPO loss and the optimizer. The bare pass is torch's forward and backward
over padded rows, as many at a time as the update packs, sorted by length, with logits everywhere.
The products are the matrix products of the packed update and nothing else, three for each linear
layer: what the machine could do at most.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForCausalLM
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.utils.losses import ppo_loss

from search_r1.configs.presets import compose
from search_r1.launch.derive import fill
from search_r1.processes.service import free_port
from search_r1.verl_plugin.cpu.workers import CPUTrainingWorker, use_every_core

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_ROUNDS = 2
_TRAJECTORIES = 48
_PROMPT_TOKENS = (12, 24)  # the quickstart's prompts
_RESPONSE_TOKENS = (8, 110)  # and responses, from answering at once to a search and an answer
_READ_SHARE = 0.6  # of a response with a search that is passage


def main() -> None:
    """Alternate the two on one batch and print the result as a JSON line."""
    use_every_core()
    config = _config()
    prompts, responses = _sample_ids(vocabulary=49000)
    tokens = sum(map(len, prompts)) + sum(map(len, responses))
    masks = [_response_mask(row) for row in responses]
    update = partial(make_update(config), prompts, responses, masks)
    bare = _bare_pass(config, [torch.cat(pair) for pair in zip(prompts, responses, strict=True)])
    trained = int(sum(mask.sum() for mask in masks))
    products = _products(config, tokens, trained)
    update_s, bare_s, products_s = [], [], []
    for _ in range(_ROUNDS + 1):  # the first round warms up
        update_s.append(seconds(update))
        bare_s.append(seconds(bare))
        products_s.append(seconds(products))
    result = {
        "what": "tokens/s of verl's actor update over those of torch alone and of bare products",
        "compute_dtype": config.search_r1.compute_dtype,
        "trajectories": _TRAJECTORIES,
        "tokens": tokens,
        "trained_tokens": trained,
        "update_tokens_per_s": tokens / median(update_s[1:]),
        "bare_tokens_per_s": tokens / median(bare_s[1:]),
        "products_tokens_per_s": tokens / median(products_s[1:]),
        "ratio": median(b / u for b, u in zip(bare_s[1:], update_s[1:], strict=True)),
        "ratio_to_products": median(
            p / u for p, u in zip(products_s[1:], update_s[1:], strict=True)
        ),
    }
    print(json.dumps(result))


def _config() -> Any:
    config: Any = OmegaConf.to_container(compose("quickstart"), resolve=True)
    fill(config, Path("bench"))
    return OmegaConf.create(config)


def _sample_ids(vocabulary: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    lengths, generator = random.Random(0), torch.Generator().manual_seed(0)

    def draw(bounds: tuple[int, int]) -> list[torch.Tensor]:
        return [
            torch.randint(vocabulary, (lengths.randint(*bounds),), generator=generator)
            for _ in range(_TRAJECTORIES)
        ]

    return draw(_PROMPT_TOKENS), draw(_RESPONSE_TOKENS)


def make_update(config: Any) -> Callable[..., Any]:
    """Make verl's worker, outside Ray.

    Returns:
        Its update of a whole batch, given prompts, responses and response masks: lists of tensors,
        shape (T,), one a trajectory.
    """
    os.environ |= {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(free_port())
    config.actor_rollout_ref.actor.optim.total_training_steps = 100
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    worker = CPUTrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=omega_conf_to_dataclass(config.actor_rollout_ref.model),
            engine_config=actor.engine,
            optimizer_config=actor.optim,
            checkpoint_config=actor.checkpoint,
        )
    )
    actor.engine.use_dynamic_bsz = True
    actor.engine.max_token_len_per_gpu = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    worker.reset()
    worker.set_loss_fn(partial(ppo_loss, config=actor))
    return lambda *rows: worker.train_mini_batch(_batch(*rows))


def _batch(
    prompts: list[torch.Tensor], responses: list[torch.Tensor], response_masks: list[torch.Tensor]
) -> TensorDict:
    """Put trajectories into the shape verl's trainer hands to its worker."""

    def nest(rows: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

    whole = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    noise = torch.Generator().manual_seed(1)
    masks = nest(response_masks)
    batch = TensorDict(
        {
            "input_ids": nest(whole),
            "position_ids": nest([torch.arange(len(row)) for row in whole]),
            "prompts": nest(prompts),
            "responses": nest(responses),
            "response_mask": masks,
            "loss_mask": masks.clone(),
            "old_log_probs": nest([torch.full(row.shape, -10.8) for row in responses]),
            "advantages": nest(
                [torch.randn(1, generator=noise).expand(row.shape).clone() for row in responses]
            ),
        },
        batch_size=len(prompts),
    )
    tu.assign_non_tensor(
        batch,
        temperature=1.0,
        calculate_entropy=False,
        global_batch_size=len(prompts),
        mini_batch_size=len(prompts),
        epochs=1,
        seed=1,
    )
    return batch


def _response_mask(response: torch.Tensor) -> torch.Tensor:
    """Mask a response as the loop does: a long one has searched and read a passage in between."""
    mask = torch.ones_like(response)
    if len(response) > sum(_RESPONSE_TOKENS) // 2:
        read = int(_READ_SHARE * len(response))
        start = (len(response) - read) * 2 // 3
        mask[start : start + read] = 0
    return mask


def _products(config: Any, tokens: int, trained: int) -> Callable[[], None]:
    """Give the matrix products of an update: forward, and backward to inputs and to weights."""
    dtype = _DTYPES[config.search_r1.compute_dtype]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(config.actor_rollout_ref.model.path)
        )
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    budget = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    passes = -(-tokens // budget)
    shapes = [
        ((trained if name == "lm_head" else tokens) // passes, *module.weight.shape)
        for name, module in layers
    ]
    made = {
        shape: (
            torch.randn(shape[0], shape[2], dtype=dtype),
            torch.randn(shape[1], shape[2], dtype=dtype),
            torch.randn(shape[0], shape[1], dtype=dtype),
        )
        for shape in set(shapes)
    }

    def run() -> None:
        for _ in range(passes):
            for shape in shapes:
                inputs, weight, gradient = made[shape]
                torch.nn.functional.linear(inputs, weight)
                gradient @ weight
                gradient.T @ inputs

    return run


def _bare_pass(config: Any, rows: list[torch.Tensor]) -> Callable[[], None]:
    """Give a forward and backward over all rows, in padded micro-batches of the same budget."""
    model = AutoModelForCausalLM.from_pretrained(
        config.actor_rollout_ref.model.path,
        dtype=_DTYPES[config.search_r1.compute_dtype],
        attn_implementation="sdpa",
    ).train()
    budget = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    micro_batches: list[list[torch.Tensor]] = [[]]
    for row in sorted(rows, key=len):
        if (len(micro_batches[-1]) + 1) * len(row) > budget:
            micro_batches.append([])
        micro_batches[-1].append(row)

    def run() -> None:
        model.zero_grad()
        for micro_batch in micro_batches:
            ids = pad_sequence(micro_batch, batch_first=True)
            mask = pad_sequence([torch.ones_like(row) for row in micro_batch], batch_first=True)
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten()
            )
            loss.backward()

    return run


def seconds(function: Callable[[], Any]) -> float:
    """Time one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
