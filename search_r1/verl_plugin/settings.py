"""Our section of the training config, ``search_r1:``, checked when a process reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from search_r1.assembly import FormatConfig, form_of
from search_r1.client import SearchClientConfig
from search_r1.cold_start import ColdStartConfig
from search_r1.evaluation import EvaluationConfig
from search_r1.loop import LoopConfig
from search_r1.rewards import RewardConfig


@dataclass(frozen=True, slots=True)
class RetrieverSettings:
    """The retrieval server, and whether the launcher starts it."""

    client: SearchClientConfig = field(default_factory=SearchClientConfig)
    """How the rollout calls it."""
    index: str | None = None
    """Index directory of the server the launcher starts; null when a server is running already."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What the rollout, the reward and the launcher need beside verl's own config."""

    form: FormatConfig = field(default_factory=FormatConfig)
    """How model and tools speak with each other; its keys stand directly in the section."""
    is_format_checked: bool = True
    """Refuse a prompt that shows no call the parser can read."""
    is_observation_masked: bool = True
    """Learn from what the policy wrote alone. False is for an ablation: observations are trained on
    too, as the response of somebody who does not mask."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Limits of a trajectory."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Weights of the reward's parts."""
    retriever: RetrieverSettings = field(default_factory=RetrieverSettings)
    """The retrieval server."""
    cold_start: ColdStartConfig | None = None
    """Supervised training before reinforcement learning; none when null."""
    evaluation: EvaluationConfig | None = None
    """Comparison of the models of the run after training; none when null."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables of the training processes."""
    compute_dtype: str | None = None
    """Type in which models are multiplied, ``bf16`` or ``fp32``; the launcher fills it in."""
    run_dir: str | None = None
    """Where metrics and trajectories go; set by the launcher."""


def read_settings(config: DictConfig) -> SearchSettings:
    """Read and check the ``search_r1`` section of a composed training config.

    Raises:
        ValueError: On an unknown key or a value out of range; the message names it.
    """
    section: dict[str, Any] = OmegaConf.to_container(config.search_r1, resolve=True)  # type: ignore[assignment]
    retriever = dict(section.pop("retriever", None) or {})
    form = form_of(section)
    section = {key: section[key] for key in section.keys() - set(FormatConfig.__slots__)}
    cold_start = section.pop("cold_start", None)
    evaluation = section.pop("evaluation", None)
    try:
        return SearchSettings(
            form=form,
            cold_start=ColdStartConfig(**cold_start) if cold_start else None,
            evaluation=EvaluationConfig(**evaluation) if evaluation else None,
            loop=LoopConfig(**(section.pop("loop", None) or {})),
            reward=RewardConfig(**(section.pop("reward", None) or {})),
            retriever=RetrieverSettings(
                client=SearchClientConfig(**(retriever.pop("client", None) or {})), **retriever
            ),
            **section,
        )
    except TypeError as error:
        raise ValueError(f"unknown key in the search_r1 section of the config: {error}.") from error
