"""What a run folder says of how its model is to be served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_r1.assembly import FormatConfig, form_of
from search_r1.errors import LaunchError
from search_r1.runs.layout import CONFIG, last_model
from search_r1.serving.served import ServedParser


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model and, where it lies in a run folder, how that run trained it."""

    model: str
    """Model folder, or its name on a hub."""
    form: FormatConfig = field(default_factory=FormatConfig)
    """How model and tools spoke with each other; the defaults for a model of no run."""
    vllm_options: tuple[str, ...] = ()
    """The run's limits as options of vLLM's server."""
    run_dir: Path | None = None
    """The run's folder."""

    @property
    def parser(self) -> ServedParser:
        """The run's parser."""
        return ServedParser(self.form.parser, self.form.parser_options, self.form.parser_plugin)

    def choose_prompt(self, given: str | None) -> str | None:
        """Give the prompt to serve with: what the command line names, or the run's.

        Raises:
            LaunchError: If the run took the prompt of each row, and none is given.
        """
        prompt = given or self.form.prompt
        if prompt is None and self.run_dir and self.form.result_style == "raw":
            raise LaunchError(
                f"{self.run_dir} took the prompt of each row of its question files, which its "
                "config does not name; name it with --prompt, as data_prep was told."
            )
        return prompt


def find_trained(model: str) -> TrainedModel:
    """Find a model and the config of the run it comes from.

    Args:
        model: A run folder, whose last checkpoint is meant; a model folder inside one; or any other
            model's folder or hub name, of which no run says anything.

    Raises:
        LaunchError: If the run has no model yet, or trained in a form that no server writes.
    """
    path = Path(model).absolute()
    run_dir = next((folder for folder in (path, *path.parents) if _is_run(folder)), None)
    if run_dir is None:
        return TrainedModel(model)
    from omegaconf import OmegaConf

    config = OmegaConf.load(run_dir / CONFIG)
    section: Any = OmegaConf.to_container(config.search_r1)
    form = form_of(section)
    if (form.parser == "search_tags") != (form.result_style == "raw"):
        raise LaunchError(
            f"{run_dir} trained the parser {form.parser!r} with result_style "
            f"{form.result_style!r}, which no template of ours writes; serve its model with vllm "
            "serve and a template of your own."
        )
    folder = _last_model(run_dir) if path == run_dir else path
    return TrainedModel(str(folder), form, _limits(config, section), run_dir)


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / "checkpoints").is_dir()


def _last_model(run_dir: Path) -> Path:
    folder, has_weights = last_model(run_dir)
    if not has_weights:
        raise LaunchError(
            f"{run_dir} has no model to serve: {folder} holds no weights. Wait for the run's first "
            "checkpoint, save hf_model with it (actor_rollout_ref.actor.checkpoint.save_contents), "
            "or give --model a model's folder."
        )
    return folder


def _limits(config: Any, section: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the longest context, and the longest turn, of the run's rollouts."""
    turn = {"max_new_tokens": section["loop"]["max_turn_tokens"]}
    options = ["--override-generation-config", json.dumps(turn)]
    length = config.actor_rollout_ref.rollout.max_model_len
    return (*options, *(() if length is None else ("--max-model-len", str(length))))
