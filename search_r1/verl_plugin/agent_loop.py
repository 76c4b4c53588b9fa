"""The search loop as a verl agent loop: rows in, one scored trajectory out."""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    register,
)

from search_r1.answers import gold_answers_of
from search_r1.rewards import score
from search_r1.rows import question_of
from search_r1.styles import Message
from search_r1.types import StopReason, Trajectory
from search_r1.verl_plugin.parts import shared, too_long
from search_r1.verl_plugin.policy import VerlPolicy
from search_r1.verl_plugin.progress_rollout import IS_VALIDATION, CountedPolicy
from search_r1.verl_plugin.reward import LOST


@register("search_agent")
@register("tool_agent")
class SearchAgentLoop(AgentLoopBase):
    """Runs :class:`search_r1.loop.SearchLoop` for one row; one instance per trajectory.

    Both names are the same loop: tools, call format and style come from the config's ``search_r1``
    section.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._shared = shared(self.config, self.tokenizer)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Roll one trajectory out; score it, unless verl was given another reward function."""
        uid = f"{row['uid']}_{row['session_id']}"
        progress = self._shared.progress
        policy = CountedPolicy(VerlPolicy(self.server_manager, uid, sampling_params), progress)
        messages = self._shared.messages_of(row)
        with progress.trajectory(bool(row.get(IS_VALIDATION)), int(row["global_steps"])):
            trajectory = await self._shared.parts.loop(policy).run(
                self._prompt_ids(messages),
                uid=uid,
                question=question_of(row) or messages[-1]["content"],
                gold_answers=gold_answers_of(row),
            )
        trajectory.step = int(row["global_steps"])
        trajectory.metadata["data_source"] = row["data_source"]
        trajectory.metadata["index"] = int(row["index"] or 0)
        trajectory.metadata["knowledge"] = row["extra_info"].get("knowledge") or ""
        retries = self._shared.client.counters.retries  # of this process so far
        trajectory.metadata["retriever_retries"] = retries
        trajectory.reward = score(trajectory, self._shared.settings.reward)
        has_own_reward = self.config.reward.custom_reward_function.path is not None
        return self._output(trajectory, trajectory.reward["total"] if not has_own_reward else None)

    def _prompt_ids(self, messages: list[Message]) -> list[int]:
        ids = self._shared.parts.style.prompt_ids(messages)
        limit = self.rollout_config.prompt_length
        if len(ids) > limit:
            raise ValueError(too_long(len(ids), limit, messages))
        return ids

    def _output(self, trajectory: Trajectory, reward: float | None) -> AgentLoopOutput:
        """Hand a trajectory to verl; one that infrastructure ended is masked out of learning."""
        if not trajectory.response_ids:  # verl needs one token to hang the reward on
            trajectory.append_observation(self._shared.eos_ids[:1])
        return AgentLoopOutput(
            prompt_ids=trajectory.prompt_ids,
            response_ids=trajectory.response_ids,
            response_mask=self._trained_on(trajectory),
            response_logprobs=trajectory.response_logprobs,
            reward_score=reward,
            num_turns=len(trajectory.turns)
            + trajectory.num_calls
            + 1,  # verl counts user and tool turns too
            metrics=AgentLoopMetrics(
                generate_sequences=sum(turn.generate_s for turn in trajectory.turns),
                tool_calls=sum(turn.tool_s for turn in trajectory.turns),
            ),
            extra_fields={
                "min_global_steps": trajectory.metadata["min_global_steps"],
                "max_global_steps": trajectory.metadata["max_global_steps"],
                "model_text": trajectory.model_text,
                "trajectory": trajectory.to_json(),
                "reward_extra_info": _validation_scores(trajectory),
            },
        )

    def _trained_on(self, trajectory: Trajectory) -> list[int]:
        """Give 1 for each id of the response that is learned from, 0 for the others."""
        if _is_lost(trajectory):
            return [0] * len(trajectory.response_ids)
        if self._shared.settings.is_observation_masked:
            return trajectory.response_mask
        return [1] * len(trajectory.response_ids)


def _is_lost(trajectory: Trajectory) -> bool:
    return trajectory.stop_reason is not None and trajectory.stop_reason.is_infrastructure


def _validation_scores(trajectory: Trajectory) -> dict[str, Any]:
    """Give what verl's validation averages per data source; ``acc`` is its headline figure."""
    return {
        "acc": trajectory.reward["em"],
        "f1": trajectory.reward["f1"],
        "format": trajectory.reward["format"],
        "searches": float(trajectory.num_searches),
        "answered": float(trajectory.stop_reason is StopReason.ANSWER),
        LOST: float(_is_lost(trajectory)),
    }
