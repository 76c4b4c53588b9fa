"""Gradients of small batches through verl's CPU engine: ``engine_gradients.py MODEL DTYPE``.

Prints one JSON object: how far gradients and log-probs with our savings are from those without. Run
by tests in a process of its own, because the CPU platform and a process group are for good.
"""

import json
import os
import sys

os.environ |= {"VERL_PLATFORM": "cpu", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
os.environ |= {"MASTER_ADDR": "127.0.0.1"}

from functools import partial
from pathlib import Path

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.utils.losses import ppo_loss, sft_loss

import search_r1.verl_plugin  # noqa: F401  registers the CPU platform
from search_r1.configs.presets import compose
from search_r1.launch.derive import fill
from search_r1.processes.service import free_port
from search_r1.verl_plugin.cpu import trained_only
from search_r1.verl_plugin.cpu.workers import CPUTrainingWorker

VOCABULARY = 270
PROMPTS, RESPONSES = (5, 9, 3, 7, 4, 6), (12, 3, 20, 8, 15, 9)
UNTRAINED = 3  # its whole response is masked out, as of a lost trajectory


def nest(rows):
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def ids():
    generator = torch.Generator().manual_seed(0)

    def draw(lengths):
        return [torch.randint(VOCABULARY, (n,), generator=generator) for n in lengths]

    return draw(PROMPTS), draw(RESPONSES)


def response_masks():
    masks = [torch.ones(n, dtype=torch.long) for n in RESPONSES]
    for mask in masks:
        mask[len(mask) // 3 : 2 * len(mask) // 3] = 0  # an observation
    masks[UNTRAINED][:] = 0
    return masks


def batch(advantages):
    """Make a batch of reinforcement learning, or without advantages a supervised one."""
    prompts, responses = ids()
    masks = response_masks()
    rows = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    content = {
        "input_ids": nest(rows),
        "position_ids": nest([torch.arange(len(row)) for row in rows]),
    }
    if advantages:
        content |= {
            "prompts": nest(prompts),
            "responses": nest(responses),
            "response_mask": nest(masks),
            "loss_mask": nest([mask.clone() for mask in masks]),
            "old_log_probs": nest([torch.full((n,), -5.0) for n in RESPONSES]),
            "advantages": nest(
                [torch.full((n,), a) for n, a in zip(RESPONSES, advantages, strict=True)]
            ),
        }
    else:
        whole = [torch.cat([torch.zeros_like(p), m]) for p, m in zip(prompts, masks, strict=True)]
        content["loss_mask"] = nest(whole)
    made = TensorDict(content, batch_size=len(rows))
    tu.assign_non_tensor(made, temperature=1.0, global_batch_size=len(rows), epochs=1, seed=1)
    tu.assign_non_tensor(made, calculate_entropy=False, mini_batch_size=len(rows))
    return made


class Worker:
    """verl's training worker outside Ray, whose optimizer only looks at the gradients."""

    def __init__(self, model, dtype):
        overrides = [f"actor_rollout_ref.model.path={model}", f"search_r1.compute_dtype={dtype}"]
        config = OmegaConf.to_container(compose("quickstart", overrides), resolve=True)
        fill(config, Path("unused"))
        config = OmegaConf.create(config)
        os.environ["MASTER_PORT"] = str(free_port())
        config.actor_rollout_ref.actor.optim.total_training_steps = 100
        actor = self._actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
        actor.engine.use_dynamic_bsz = True
        actor.engine.max_token_len_per_gpu = 40  # several micro-batches
        actor.engine.infer_max_token_len_per_gpu = 40
        self._worker = CPUTrainingWorker(
            TrainingWorkerConfig(
                model_type="language_model",
                model_config=omega_conf_to_dataclass(config.actor_rollout_ref.model),
                engine_config=actor.engine,
                optimizer_config=actor.optim,
                checkpoint_config=actor.checkpoint,
            )
        )
        torch.set_num_threads(1)
        self._worker.reset()
        self._engine = self._worker.engine
        self._engine.optimizer_step = self._look
        self.seen_dtypes = set()
        layer = self._engine.module.model.layers[0].mlp.up_proj
        layer.register_forward_hook(lambda _m, _i, output: self.seen_dtypes.add(str(output.dtype)))

    def _look(self):
        self._gradients = {
            name: getattr(p.grad, "full_tensor", lambda g=p.grad: g)().clone()
            for name, p in self._engine.module.named_parameters()
        }
        return 1.0

    def gradients(self, advantages):
        loss = (
            partial(ppo_loss, config=self._actor) if advantages else partial(sft_loss, config=None)
        )
        self._worker.set_loss_fn(loss)
        self._worker.train_mini_batch(batch(advantages))
        return self._gradients

    def log_probs(self):
        data = batch(None)
        tu.assign_non_tensor(data, compute_loss=False)
        output = self._worker.infer_batch(data)
        return [row.clone() for row in tu.get(output, "log_probs").unbind()]


def trained_places():
    """Give per row where log-probs are trained: before each token with mask 1."""
    masks = response_masks()
    return [
        (torch.cat([torch.zeros(n), mask]).roll(-1)).bool()
        for n, mask in zip(PROMPTS, masks, strict=True)
    ]


def distance(ours, plain):
    """Give the largest difference between two sets of gradients over the largest entry."""
    largest = max(float(value.abs().max()) for value in plain.values())
    return max(float((ours[name] - plain[name]).abs().max()) for name in plain) / largest


def main(model, dtype):
    worker = Worker(model, dtype)
    batches = {
        "mixed": [0.5, -1.0, 0.0, 2.0, 0.0, 1.0],
        "one_left": [0.0, 0.0, 0.0, 0.0, 0.7, 0.0],
        "none_left": [0.0] * len(PROMPTS),
        "supervised": None,
    }
    rows = []
    split = transformer_impl.prepare_micro_batches

    def count(**options):
        micro_batches, places = split(**options)
        rows.append(sum(len(one["input_ids"].unbind()) for one in micro_batches))
        return micro_batches, places

    transformer_impl.prepare_micro_batches = count
    ours = {name: worker.gradients(advantages) for name, advantages in batches.items()}
    ours_log_probs = worker.log_probs()
    kept_rows = dict(zip(batches, rows, strict=False))
    transformer_impl.prepare_micro_batches = trained_only.prepare_micro_batches
    trained_only._takes_places = lambda module: False
    plain = {name: worker.gradients(advantages) for name, advantages in batches.items()}
    plain_log_probs = worker.log_probs()
    pairs = list(zip(ours_log_probs, plain_log_probs, trained_places(), strict=True))
    largest = {n: max(float(g.abs().max()) for g in plain[n].values()) for n in plain}
    result = {
        "rows": kept_rows,
        "largest": largest,
        "largest_ours": {n: max(float(g.abs().max()) for g in ours[n].values()) for n in ours},
        "distance": {n: distance(ours[n], plain[n]) for n in batches if largest[n]},
        "log_prob_distance": max(float((a - b)[at].abs().max()) for a, b, at in pairs if at.any()),
        "others": max(float(a[~at].abs().max()) for a, _, at in pairs),
        "others_plain": min(float(b[~at].abs().min()) for _, b, at in pairs),
        "dtypes": sorted(worker.seen_dtypes),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
