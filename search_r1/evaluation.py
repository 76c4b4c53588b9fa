"""What a run's own evaluation is asked for; ``eval.run`` carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from search_r1.prompts import prompt_names


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """The questions on which the models of a run are compared after training."""

    questions: str
    """Question file (parquet), read from its start."""
    num_questions: int = 144
    """Questions taken."""
    base_prompt: str | None = None
    """Prompt of the model before the cold start; the run's own when null."""

    def __post_init__(self) -> None:
        if self.num_questions < 1:
            raise ValueError(
                f"search_r1.evaluation.num_questions is {self.num_questions}; at least 1 is "
                "needed, or set search_r1.evaluation=null for none."
            )
        if self.base_prompt is not None and self.base_prompt not in prompt_names():
            raise ValueError(
                f"search_r1.evaluation.base_prompt is {self.base_prompt!r}; it must be one of "
                f"{', '.join(prompt_names())}, or null for the run's own."
            )
