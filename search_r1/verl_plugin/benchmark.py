"""verl's whole actor update on the CPU platform, against a bare forward and backward in torch.

Both see the same batch of the quickstart's shape. The update has what training needs besides:
micro-batching, FSDP2, the PPO loss and the optimizer. The bare pass has none of it; it runs a bf16
copy of the model over padded rows, as many at a time as the update packs, sorted by length.
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
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.utils.losses import ppo_loss

from search_r1.launch.derive import fill
from search_r1.launch.presets import compose
from search_r1.launch.services import free_port
from search_r1.verl_plugin.cpu.workers import CPUTrainingWorker, use_every_core

_ROUNDS = 2
_TRAJECTORIES = 36
_PROMPT_TOKENS = (125, 165)  # the quickstart's prompts
_RESPONSE_TOKENS = (30, 190)  # and responses, from giving up at once to two searches


def main() -> None:
    """Alternate the two on one batch and print the result as a JSON line."""
    use_every_core()
    config = _config()
    prompts, responses = _sample_ids(vocabulary=49000)
    tokens = sum(map(len, prompts)) + sum(map(len, responses))
    update = _update(config, prompts, responses)
    bare = _bare_pass(config, [torch.cat(pair) for pair in zip(prompts, responses, strict=True)])
    update_s, bare_s = [], []
    for _ in range(_ROUNDS + 1):  # the first round warms up
        update_s.append(_time(update))
        bare_s.append(_time(bare))
    result = {
        "what": "tokens/s of verl's actor update over those of a bare torch forward+backward",
        "trajectories": _TRAJECTORIES,
        "tokens": tokens,
        "update_tokens_per_s": tokens / median(update_s[1:]),
        "bare_tokens_per_s": tokens / median(bare_s[1:]),
        "ratio": median(b / u for b, u in zip(bare_s[1:], update_s[1:], strict=True)),
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


def _update(
    config: Any, prompts: list[torch.Tensor], responses: list[torch.Tensor]
) -> Callable[[], Any]:
    """Make verl's worker, outside Ray, and give its update of a whole batch."""
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
    return lambda: worker.train_mini_batch(_batch(prompts, responses))


def _batch(prompts: list[torch.Tensor], responses: list[torch.Tensor]) -> TensorDict:
    """Put trajectories into the shape verl's trainer hands to its worker."""

    def nest(rows: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

    whole = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    noise = torch.Generator().manual_seed(1)
    ones = nest([torch.ones_like(row) for row in responses])
    batch = TensorDict(
        {
            "input_ids": nest(whole),
            "position_ids": nest([torch.arange(len(row)) for row in whole]),
            "prompts": nest(prompts),
            "responses": nest(responses),
            "response_mask": ones,
            "loss_mask": ones.clone(),
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


def _bare_pass(config: Any, rows: list[torch.Tensor]) -> Callable[[], None]:
    """Give a forward and backward over all rows, in padded micro-batches of the same budget."""
    model = AutoModelForCausalLM.from_pretrained(
        config.actor_rollout_ref.model.path, dtype=torch.bfloat16, attn_implementation="sdpa"
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


def _time(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
