"""verl's trainers, with every batch's trajectories dumped and averaged into metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import ray
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer
from verl.utils import tracking
from verl.utils.import_utils import load_class_from_fqn
from verl.utils.logging_utils import configure_verl_logging

import search_r1.verl_plugin.advantage  # noqa: F401  registers grpo_masked on import
from search_r1.metrics import INFRASTRUCTURE, Record, trajectory_metrics
from search_r1.verl_plugin.progress_trainer import TrainerProgress
from search_r1.verl_plugin.reward import LOST

_POLL_S = 0.2  # verl looks every 2 s whether all trajectories of a step are done


class RecordingBuffer:
    """A replay buffer that shows each sampled batch to a listener before handing it on."""

    def __init__(self, buffer: Any, on_sample: Any) -> None:
        self._buffer = buffer
        self._on_sample = on_sample

    def sample(self, **kwargs: Any) -> Any:
        """Sample as the buffer does."""
        batch, metrics = self._buffer.sample(**kwargs)
        self._on_sample(batch)
        return batch, metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


class TrajectoryRecorder(PPOTrainer):
    """Mixed into each of verl's trainers; adds records and metrics, leaves the algorithm alone."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        # The asynchronous trainers take the interval for what counts as waiting; theirs stays.
        if config.trainer.v1.trainer_mode == "sync":
            self.replay_buffer.poll_interval = _POLL_S
        self.replay_buffer = RecordingBuffer(self.replay_buffer, self._record)
        self._run_dir = Path(config.search_r1.run_dir)
        self._records: list[Record] = []

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self.config.trainer.device == "cpu":
            self.role_worker_mapping = {
                role: _on_cpu(worker_class)
                for role, worker_class in self.role_worker_mapping.items()
            }

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """Forget the last step's trajectories, then train one step."""
        self._records = []
        return super().step(metrics, timing_raw)

    def _record(self, batch: Any) -> None:
        """Read a batch's trajectories while verl keeps them, and write them to the run's folder."""
        # A colocated reward model scores only after this; everything else has scored already.
        is_scored = self.reward_loop_manager.reward_loop_worker_handles is not None
        fields = tq.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=["extra_fields", *(["rm_scores"] if is_scored else [])],
        )
        records = [extra["trajectory"] for extra in fields["extra_fields"]]
        if is_scored:
            for record, scores in zip(records, fields["rm_scores"].unbind(), strict=True):
                record["reward"]["total"] = scores.sum().item()  # maybe the user's own function's
        records.sort(key=lambda record: record["uid"])
        is_validation = batch.partition_id == "val"
        if not is_validation:
            _require_sound(records)
        folder = self._run_dir / ("eval" if is_validation else "trajectories")
        _append_lines(folder / f"step_{self.global_steps:06d}.jsonl", records)
        if not is_validation:
            self._records += records

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        if self._records:
            metrics.update(trajectory_metrics(self._records))

    def _val_metrics_update(
        self, data_sources: Any, sample_uids: Any, scores: Any, *args: Any, **kw: Any
    ) -> dict[str, float]:
        """Average a validation as verl does, without what infrastructure ended, to verl a 0."""
        expected = kw["expected_acc_counts"]
        for row, is_lost in enumerate(scores.get(LOST, ())):
            if is_lost:
                for name in scores.keys() - {LOST}:
                    scores[name][row] = None
                expected[str(data_sources[row]), str(sample_uids[row])] -= 1
        averaged: dict[str, float] = super()._val_metrics_update(
            data_sources, sample_uids, scores, *args, **kw
        )
        return averaged


class AppendingFileLogger:
    """verl's ``file`` logger, which truncates; a resumed run must keep the lines it has."""

    def __init__(self, project_name: str, experiment_name: str) -> None:
        self._path = Path(os.environ["VERL_FILE_LOGGER_PATH"])

    def log(self, data: dict[str, Any], step: int) -> None:
        """Append one line: the step, then every metric."""
        line = orjson.dumps(
            {"step": step, **data}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        )
        with self._path.open("ab") as file:
            file.write(line)

    def finish(self) -> None:
        """Nothing is held open."""


class SearchTaskRunner:
    """Runs the training on the cluster's head; verl's runner with our trainer in verl's place."""

    def run(self, config: DictConfig) -> None:
        """Train until the last step."""
        from verl.trainer.ppo.v1 import AgentLoopManagerTQ

        configure_verl_logging()
        tracking.FileLogger = AppendingFileLogger
        trainer_class = recording_trainer(config.trainer.v1.trainer_mode)
        config.transfer_queue.enable = True
        OmegaConf.resolve(config)
        tq.init(config.transfer_queue)
        trainer = None
        succeeded = False
        try:
            trainer = trainer_class(config=config)
            trainer.init()
            manager = config.actor_rollout_ref.rollout.agent.get("agent_loop_manager_class")
            manager_class = (
                load_class_from_fqn(manager, "AgentLoopManager") if manager else AgentLoopManagerTQ
            )
            rollout = manager_class.create(
                config=config,
                llm_client=trainer.get_llm_client(),
                teacher_client=trainer.get_teacher_client(),
                reward_loop_worker_handles=trainer.get_reward_handles(),
            )
            trainer.fit(rollout)
            succeeded = True
        finally:
            try:
                logger = getattr(trainer, "logger", None)
                if logger is not None:
                    logger.finish(exit_code=0 if succeeded else 1)
            finally:
                tq.close()


def recording_trainer(mode: str) -> type[PPOTrainer]:
    """Give verl's trainer of a mode (``sync``, ...) with recorder and progress mixed in."""
    if mode not in TRAINER_REGISTRY:
        raise ValueError(
            f"trainer.v1.trainer_mode is {mode!r}; it must be one of {sorted(TRAINER_REGISTRY)}."
        )
    return type(
        f"Recording{TRAINER_REGISTRY[mode].__name__}",
        (TrajectoryRecorder, TrainerProgress, TRAINER_REGISTRY[mode]),
        {},
    )


def _on_cpu(remote_class: Any) -> Any:
    """Swap one of verl's worker classes for its CPU version."""
    from search_r1.verl_plugin.cpu import workers

    versions = {
        workers.engine_workers.ActorRolloutRefWorker: workers.CPUActorRolloutRefWorker,
        workers.engine_workers.TrainingWorker: workers.CPUTrainingWorker,
    }
    return ray.remote(versions[remote_class.__ray_actor_class__])


def _require_sound(records: Sequence[Record]) -> None:
    """Stop when infrastructure ended every trajectory of a step: there is nothing to learn from."""
    if any(record["stop_reason"] not in INFRASTRUCTURE for record in records):
        return
    noted = records[0]["metadata"]
    reason = noted.get("retriever_error") or noted.get("tool_error") or "the engine gave no tokens"
    raise RuntimeError(
        f"all {len(records)} trajectories of this step were lost to infrastructure, the first one "
        f"because {reason}. "
        "Mend that and go on with trainer.resume_mode=auto."
    )


def _append_lines(path: Path, records: Sequence[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # An argument that somebody's parser read may hold half a surrogate pair.
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
