"""The cold start: ``python -m search_r1.verl_plugin.cold_start RUN_DIR/config.yaml FOLDER``.

verl's own supervised trainer on the run's model, engine and arithmetic, over the demonstrations in
FOLDER. Only what a model writes is trained on: the mask of a demonstration is that of any other
trajectory. FOLDER then holds ``model/`` and a receipt. Under ``torchrun`` it takes several GPUs.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from torch.utils.data import Dataset, DistributedSampler
from verl.trainer import sft_trainer
from verl.utils import tracking
from verl.utils.distributed import destroy_global_process_group

from search_r1.cold_start import (
    DEMONSTRATIONS,
    MODEL,
    RECEIPT,
    ColdStartConfig,
    inputs_of,
)
from search_r1.configs.presets import compose_from_verl
from search_r1.processes.service import free_port
from search_r1.runs.layout import write_json
from search_r1.runs.progress import ProgressFile
from search_r1.verl_plugin.trainer import AppendingFileLogger

_CHECKPOINTS = "checkpoints"
_METRICS = "metrics.jsonl"


class Demonstrations(Dataset):  # type: ignore[type-arg]
    """Demonstrations as verl's supervised trainer reads rows; verl calls the constructor."""

    def __init__(self, parquet_files: str, **_: Any) -> None:
        with Path(parquet_files).open(encoding="utf-8") as lines:
            self._records = [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Give ids, positions and loss mask of one demonstration, shape (T,) each."""
        record = self._records[number]
        ids = record["prompt_ids"] + record["response_ids"]
        mask = [0] * len(record["prompt_ids"]) + record["response_mask"]
        return {
            "input_ids": torch.tensor(ids),
            "position_ids": torch.arange(len(ids)),
            "loss_mask": torch.tensor(mask),
        }


class PairSampler(DistributedSampler):  # type: ignore[type-arg]
    """Shuffles pairs of demonstrations: a question's two, one after the other, in a neutral set.

    So every batch holds as many that search as that do not. Batches that do not decide by
    themselves what a model has seen last, and make one that never searches.
    """

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.dataset) // 2, generator=generator).tolist()
        whole = len(order) // self.num_replicas * self.num_replicas
        for pair in order[self.rank : whole : self.num_replicas]:
            yield 2 * pair
            yield 2 * pair + 1

    def __len__(self) -> int:
        return 2 * (len(self.dataset) // 2 // self.num_replicas)


class ColdStartTrainer(sft_trainer.SFTTrainer):
    """verl's supervised trainer, which tells how far it is."""

    def __init__(self, config: Any, progress: ProgressFile) -> None:
        self._progress = progress
        super().__init__(config)

    def _init_engine(self) -> None:
        super()._init_engine()
        train_batch = self.training_client.train_batch

        def train_and_tell(*args: Any, **kwargs: Any) -> Any:
            output = train_batch(*args, **kwargs)
            self._done += 1
            self._progress.report("cold_start", self._done, self.total_training_steps)
            return output

        self.training_client.train_batch = train_and_tell

    def fit(self) -> None:
        """Train to the end, from the checkpoint that was loaded if there was one."""
        self._done = self.resume_global_step
        self._progress.report("cold_start", self._done, self.total_training_steps)
        if self._done < self.total_training_steps:
            super().fit()


def sft_config(config: dict[str, Any], wanted: ColdStartConfig, folder: Path) -> Any:
    """Make verl's supervised config from a run's: its model and engine, our optimizer and data."""
    composed = compose_from_verl("sft_trainer_engine")
    actor = config["actor_rollout_ref"]["actor"]
    composed.model = config["actor_rollout_ref"]["model"]
    composed.engine = actor["fsdp_config"]
    composed.optim = actor["optim"] | {
        "lr": wanted.lr,
        "lr_warmup_steps": wanted.warmup_steps,
        "lr_scheduler_type": wanted.lr_schedule,
        "total_training_steps": wanted.num_updates,
    }
    composed.checkpoint.save_contents = ["model", "optimizer", "extra", "hf_model"]
    composed.checkpoint.load_contents = ["model", "optimizer", "extra"]
    composed.data = OmegaConf.merge(
        composed.data,
        {
            "train_files": str(folder / DEMONSTRATIONS),
            "train_batch_size": wanted.batch_size,
            "max_token_len_per_gpu": wanted.max_tokens_per_micro_batch,
            "custom_cls": {"path": "pkg://search_r1.verl_plugin.cold_start"},
            "num_workers": 0,
        },
    )
    composed.data.custom_cls.name = Demonstrations.__name__
    composed.trainer = OmegaConf.merge(
        composed.trainer,
        {
            "default_local_dir": str(folder / _CHECKPOINTS),
            "experiment_name": "cold_start",
            "total_epochs": wanted.epochs,
            "total_training_steps": wanted.num_updates,
            "logger": ["console", "file"],
            "seed": wanted.seed,
            "save_freq": wanted.save_freq,
            "max_ckpt_to_keep": 1,
            "device": config["trainer"]["device"],
            "nnodes": config["trainer"]["nnodes"],
            "n_gpus_per_node": int(os.environ["WORLD_SIZE"]),
        },
    )
    return composed


def train(config: dict[str, Any], folder: Path) -> None:
    """Train and leave the model; goes on from the last checkpoint of an interrupted cold start."""
    _be_one_process_unless_torchrun()
    os.environ["VERL_FILE_LOGGER_PATH"] = str(folder / _METRICS)
    tracking.FileLogger = AppendingFileLogger
    wanted = ColdStartConfig(**config["search_r1"]["cold_start"])
    _check_shares(wanted)
    sft_trainer.DistributedSampler = functools.partial(PairSampler, seed=wanted.seed)
    _start_process_group(config["trainer"]["device"])
    started = time.monotonic()
    is_first = os.environ["RANK"] == "0"  # all ranks do the same updates, and one is enough to tell
    run_dir = config["search_r1"].get("run_dir") if is_first else None
    progress = ProgressFile(run_dir, "cold_start")
    ColdStartTrainer(sft_config(config, wanted, folder), progress).fit()
    if int(os.environ["RANK"]) == 0:
        _keep_model(config, folder, wanted, time.monotonic() - started)
    destroy_global_process_group()


def _keep_model(
    config: dict[str, Any], folder: Path, wanted: ColdStartConfig, seconds: float
) -> None:
    """Take the model out of the last checkpoint, drop the rest, and write the receipt last."""
    checkpoints = folder / _CHECKPOINTS
    last = checkpoints / f"global_step_{wanted.num_updates}" / "huggingface"
    if last.is_dir():  # else it was taken before something stopped us here
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        last.rename(folder / MODEL)
    shutil.rmtree(checkpoints)
    with (folder / _METRICS).open(encoding="utf-8") as lines:
        steps = [json.loads(line) for line in lines]
    receipt = {
        "inputs": inputs_of(config),
        "updates": wanted.num_updates,
        "seconds": round(seconds, 1),
        "loss_first": steps[0]["train/loss"],
        "loss_last": steps[-1]["train/loss"],
        "tokens": sum(step["train/global_tokens"] for step in steps),
    }
    write_json(folder / RECEIPT, receipt)


def _check_shares(wanted: ColdStartConfig) -> None:
    """Refuse a batch of which some process would get half a pair.

    Raises:
        ValueError: If the batch does not give every process whole pairs.
    """
    processes = int(os.environ["WORLD_SIZE"])
    if wanted.batch_size % (2 * processes):
        raise ValueError(
            f"search_r1.cold_start.batch_size is {wanted.batch_size}; with {processes} GPUs make "
            f"it a multiple of {2 * processes}: each takes as many searching demonstrations as "
            "direct ones."
        )


def _be_one_process_unless_torchrun() -> None:
    if "RANK" not in os.environ:
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}


def _start_process_group(device: str) -> None:
    from verl.utils.distributed import initialize_global_process_group

    if device == "cpu":
        from search_r1.verl_plugin.cpu.workers import use_every_core

        use_every_core()
        torch.distributed.init_process_group("cpu:gloo")
    else:
        initialize_global_process_group()


def main() -> None:
    """Read the config and train."""
    parser = argparse.ArgumentParser(prog="python -m search_r1.verl_plugin.cold_start")
    parser.add_argument("config", metavar="CONFIG.yaml", type=Path, help="of a run")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="holds demonstrations.jsonl")
    parsed = parser.parse_args()
    train(yaml.safe_load(parsed.config.read_text(encoding="utf-8")), parsed.folder)


if __name__ == "__main__":
    main()
