"""A trainer that tells what it is doing: starting, rollout, update, weight sync, evaluation."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from search_r1.runs.progress import ProgressFile
from search_r1.verl_plugin.progress_rollout import MarkedRollouts
from search_r1.verl_plugin.progress_update import mark

_START_PARTS = 3


class TrainerProgress(PPOTrainer):
    """Mixed into each of verl's trainers; reports before each part of a step."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        self._progress = ProgressFile(config.search_r1.run_dir, "trainer")

    def _announce(self, stage: str, total: int = 0) -> None:
        """Report that a part begins; those who do it report how far they are."""
        self._progress.report(
            stage,
            0,
            total,
            step=self.global_steps,
            steps=getattr(self, "total_training_steps", None),
        )

    def _setup(self) -> None:
        self._progress.report("start", 1, _START_PARTS)  # Ray is up: this runs in it
        super()._setup()

    def _load_checkpoint(self) -> Any:
        self._progress.report("start", 2, _START_PARTS, is_forced=True)  # trainer and engine are
        return super()._load_checkpoint()

    def on_init_end(self) -> None:
        """Hand the first weights to the engine."""
        super().on_init_end()
        self._progress.report("start", _START_PARTS, _START_PARTS)

    def fit(self, agent_loop_manager: Any) -> None:
        """Train to the end, on rollouts that know whether they are an evaluation."""
        super().fit(MarkedRollouts(agent_loop_manager))

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """Train one step."""
        size = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        self._announce("rollout", size)
        return super().step(metrics, timing_raw)

    def _validate(self) -> dict[str, float]:
        each = self.config.actor_rollout_ref.rollout.val_kwargs.n
        self._announce("evaluate", len(self.val_dataset) * each)
        self.agent_loop_manager.is_validation = True
        try:
            return super()._validate()
        finally:
            self.agent_loop_manager.is_validation = False

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        correction = self.config.algorithm.get("rollout_correction") or {}
        if not correction.get("bypass_mode", False):  # else nothing is computed
            self._announce_pass(batch, "old_log_prob")
        return super()._compute_old_log_prob(batch, metrics)

    def _compute_ref_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self._announce_pass(batch, "reference")
        return super()._compute_ref_log_prob(batch, metrics)

    def _compute_values(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self._announce_pass(batch, "values")
        return super()._compute_values(batch, metrics)

    def _update_critic(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self._announce_pass(batch, "update_critic", self._passes(self.config.critic))
        return super()._update_critic(batch, metrics)

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self._announce_pass(batch, "update", self._passes(self.config.actor_rollout_ref.actor))
        return super()._update_actor(batch, metrics)

    def _save_checkpoint(self) -> None:
        self._announce("checkpoint")
        super()._save_checkpoint()

    def on_step_end(self) -> None:
        """Hand the new weights to the engine."""
        self._announce("weight_sync")
        super().on_step_end()

    def _announce_pass(self, batch: Any, stage: str, num_passes: int = 1) -> None:
        """Report that the model passes over a batch, and have its worker report micro-batches."""
        self._announce(stage)
        mark(batch.extra_info, stage, self.global_steps, num_passes)

    def _passes(self, section: DictConfig) -> int:
        """Give the mini-batches of one update."""
        questions = self.config.data.train_batch_size // self.parameter_sync_step
        return max(1, questions // section.ppo_mini_batch_size) * section.ppo_epochs
