"""How long a run will take on this machine, from speeds that a probe measured: arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_r1.cold_start import ColdStartConfig
from search_r1.evaluation import EvaluationConfig
from search_r1.launch.derive import uses_critic, uses_reference
from search_r1.launch.progress.forecast import evaluated_steps

Config = Mapping[str, Any]
LIMIT_S = 30 * 60.0  # somebody who waits longer is told before
TRAINING = "training"
_MINUTE_S = 60.0

# docs/benchmarks/training.json (2026-11-22): 24 tokens written and 113 read a trajectory, with 0.97
# searches of two passages each.
_TOKENS_A_TURN = 12.3
_TOKENS_A_PASSAGE = 58.0
# Rollouts after a cold start, whose demonstrations search one time in two.
_SEARCHES_AFTER_COLD_START = 0.6
_FORWARD_SHARE = 1 / 3  # of a forward and backward pass


@dataclass(frozen=True, slots=True)
class Speeds:
    """What the probe measured, in tokens per second on all cores."""

    train: float
    """Forward and backward."""
    read: float
    """Prompt and passages, before a token is written."""
    write: float
    """Written, of many trajectories at once."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds a run will take from here."""

    parts_s: dict[str, float]
    """What the launcher waits for, in order."""
    start_s: float
    """Of training: until Ray, engine and trainer are up."""
    step_s: float
    """Of training: one step."""
    evaluation_s: float
    """Of training: one evaluation."""
    steps: int
    """Of training: how many are to be done."""

    @property
    def total_s(self) -> float:
        """All parts together."""
        return sum(self.parts_s.values())

    def to_json(self) -> dict[str, Any]:
        """Give it as launch.json keeps it, in whole seconds."""
        values = asdict(self) | {"total_s": self.total_s}
        values["parts_s"] = {name: round(seconds) for name, seconds in self.parts_s.items()}
        return {k: round(v) if isinstance(v, float) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Overheads:
    """Seconds that do not depend on tokens: a quickstart on two AVX2 cores, 2026-11-24."""

    training_start: float = 150.0
    """Ray, trainer and engine come up."""
    step: float = 4.0
    """Weight sync, hand-overs between processes, and a checkpoint now and then."""
    cold_start: float = 45.0
    """Imports, and the trained model written to disk."""
    demonstrations: float = 20.0
    """Imports, and the retriever's answers."""
    engine_start: float = 50.0
    """vLLM alone comes up, for an evaluation."""


def estimate(
    config: Config,
    speeds: Speeds,
    prompt_tokens: float,
    has_cold_start: bool = False,
    resumed_step: int = 0,
    overheads: Overheads | None = None,
) -> Estimate:
    """Add up what a run will take from its start to its table.

    Args:
        config: The run's resolved config.
        speeds: The machine's.
        prompt_tokens: Mean length of a prompt.
        has_cold_start: Whether the cold start it asks for is there already.
        resumed_step: Step it goes on from; 0 for a new run.
        overheads: What does not depend on tokens; as measured here when None.
    """
    extra = overheads or Overheads()
    work = _Work(config, speeds, prompt_tokens)
    parts = {} if has_cold_start else work.cold_start(extra)
    trainer = config["trainer"]
    steps = max(0, (trainer.get("total_training_steps") or 0) - resumed_step)
    step_s = work.step_s() + extra.step
    evaluation_s = work.evaluation_s(work.num_held_out())
    evaluations = len(evaluated_steps(trainer, resumed_step))
    parts[TRAINING] = extra.training_start + steps * step_s + evaluations * evaluation_s
    parts |= work.final_evaluations(extra)
    return Estimate(parts, extra.training_start, step_s, evaluation_s, steps)


def tell(estimated: Estimate) -> str:
    """Put an estimate into one line: the minutes, then what they go to."""
    listed = ", ".join(
        f"{name} {_minutes(seconds)}" for name, seconds in estimated.parts_s.items() if seconds
    )
    return f"about {_minutes(estimated.total_s)} minutes from here: {listed}"


def advise(estimated: Estimate, config: Config) -> str | None:
    """Name the override that brings a run under half an hour; None for a run that is shorter."""
    if estimated.total_s <= LIMIT_S:
        return None
    fixed_s = estimated.total_s - estimated.steps * estimated.step_s
    fitting = int((LIMIT_S - fixed_s) // estimated.step_s)
    if fitting >= 1:
        return (
            f"{_minutes(LIMIT_S)} minutes are enough for trainer.total_training_steps={fitting}"
            f" (now {config['trainer']['total_training_steps']})."
        )
    levers = [f"{key}={value} (now {now})" for key, value, now in _levers(config)]
    return f"These make it shorter: {', '.join(levers)}."


class _Work:
    """Tokens of a run's parts, and the seconds they take."""

    def __init__(self, config: Config, speeds: Speeds, prompt_tokens: float) -> None:
        self._config = config
        self._speeds = speeds
        self._prompt_tokens = prompt_tokens
        from search_r1.loop import LoopConfig  # here: the launcher itself does without its imports

        section, loop = config["search_r1"], LoopConfig(**(config["search_r1"]["loop"] or {}))
        self._section = section
        searches = _SEARCHES_AFTER_COLD_START if section.get("cold_start") else 1.0
        self._searches = min(float(loop.max_calls), searches)
        wanted = _TOKENS_A_PASSAGE * section["top_k"]
        self._observation = min(wanted, float(loop.max_observation_tokens))

    def _rollout_s(self, prompts: int, trajectories: int) -> float:
        """Prompts of a group are read once: the engine caches what it has read."""
        read: float = (
            prompts * self._prompt_tokens + trajectories * self._searches * self._observation
        )
        written = trajectories * (1 + self._searches) * _TOKENS_A_TURN
        seconds: float = read / self._speeds.read + written / self._speeds.write
        return seconds

    def _tokens(self, searches: float) -> float:
        """Give the tokens of a whole trajectory."""
        given = self._prompt_tokens + searches * self._observation
        return float(given + (1 + searches) * _TOKENS_A_TURN)

    def step_s(self) -> float:
        config = self._config
        questions = config["data"]["train_batch_size"]
        trajectories = questions * config["actor_rollout_ref"]["rollout"]["n"]
        passes = float(config["actor_rollout_ref"]["actor"].get("ppo_epochs") or 1)
        correction = config["algorithm"].get("rollout_correction") or {}
        passes += 0 if correction.get("bypass_mode") else _FORWARD_SHARE
        passes += _FORWARD_SHARE if uses_reference(dict(config)) else 0
        if uses_critic(dict(config)):
            passes += (config["critic"].get("ppo_epochs") or 1) + _FORWARD_SHARE
        trained_s: float = trajectories * self._tokens(self._searches) / self._speeds.train
        return self._rollout_s(questions, trajectories) + passes * trained_s

    def num_held_out(self) -> int:
        """Give the trajectories of one evaluation within training."""
        samples = self._config["data"].get("val_max_samples") or 0
        each = self._config["actor_rollout_ref"]["rollout"]["val_kwargs"].get("n") or 1
        return max(0, int(samples)) * each

    def evaluation_s(self, questions: int) -> float:
        return self._rollout_s(questions, questions)

    def cold_start(self, extra: Overheads) -> dict[str, float]:
        """Half of the demonstrations search, half answer at once."""
        wanted = self._section.get("cold_start")
        if not wanted:
            return {}
        settings = ColdStartConfig(**wanted)
        number = 2 * settings.num_questions * settings.epochs
        tokens = number * (self._tokens(1.0) + self._tokens(0.0)) / 2
        return {
            "demonstrations": extra.demonstrations,
            "cold start": extra.cold_start + tokens / self._speeds.train,
        }

    def final_evaluations(self, extra: Overheads) -> dict[str, float]:
        """Passes over the questions that ``launch.stages`` makes with each model."""
        wanted = self._section.get("evaluation")
        if not wanted:
            return {}
        passes = 4 + 2 * bool(self._section.get("cold_start"))
        one_s = self.evaluation_s(EvaluationConfig(**wanted).num_questions)
        return {"evaluation": extra.engine_start + passes * one_s}


def _levers(config: Config) -> list[tuple[str, int, int]]:
    """Give what makes each part shorter: key, a smaller value, the value now."""
    section, group = config["search_r1"], config["actor_rollout_ref"]["rollout"]["n"]
    quartered = [
        ("trainer.total_training_steps", config["trainer"]["total_training_steps"]),
        ("data.val_max_samples", config["data"].get("val_max_samples")),
        *(
            (f"search_r1.{name}.num_questions", section[name].get("num_questions"))
            for name in ("cold_start", "evaluation")
            if section.get(name)
        ),
    ]
    levers = [(key, now // 4, now) for key, now in quartered if now and now >= 4]
    if group >= 4:
        levers.append(("actor_rollout_ref.rollout.n", group // 2, group))
    return levers


def _minutes(seconds: float) -> str:
    minutes = seconds / _MINUTE_S
    return f"{minutes:.0f}" if minutes >= 2 else f"{max(minutes, 0.1):.1f}"
