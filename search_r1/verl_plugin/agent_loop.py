"""The search loop as a verl agent loop: rows in, one scored trajectory out."""

from __future__ import annotations

import functools
from typing import Any

from omegaconf import DictConfig
from transformers import AutoConfig, GenerationConfig
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    register,
)

from search_r1.loop import SearchLoop
from search_r1.parsers import get_tool_parser
from search_r1.rewards import score
from search_r1.search_client import SearchClient, SearchClientConfig
from search_r1.tokens import HfCodec
from search_r1.types import StopReason, Trajectory
from search_r1.verl_plugin.policy import VerlPolicy
from search_r1.verl_plugin.settings import SearchSettings, read_settings


@register("search_agent")
class SearchAgentLoop(AgentLoopBase):
    """Runs :class:`search_r1.loop.SearchLoop` for one row; one instance per trajectory."""

    def __init__(self, trainer_config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(trainer_config, *args, **kwargs)
        self._settings = _settings(self.config)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Roll one trajectory out; score it, unless verl was given another reward function."""
        uid = f"{row['uid']}_{row['session_id']}"
        settings = self._settings
        client = _client(settings.retriever.client)
        loop = SearchLoop(
            policy=VerlPolicy(self.server_manager, uid, sampling_params),
            codec=HfCodec(self.tokenizer, self._eos_ids()),
            parser=get_tool_parser(settings.parser)(**settings.parser_options),
            searcher=client,
            config=settings.loop,
        )
        trajectory = await loop.run(
            self._prompt_ids(row["raw_prompt"]),
            uid=uid,
            question=row["extra_info"].get("question", ""),
            gold_answers=list(row["reward_model"]["ground_truth"]["target"]),
        )
        trajectory.step = int(row["global_steps"])
        trajectory.metadata["data_source"] = row["data_source"]
        trajectory.metadata["retriever_retries"] = client.counters.retries  # of this process so far
        trajectory.reward = score(trajectory, settings.reward)
        has_own_reward = self.config.reward.custom_reward_function.path is not None
        return self._output(trajectory, trajectory.reward["total"] if not has_own_reward else None)

    def _prompt_ids(self, messages: Any) -> list[int]:
        messages = [dict(message) for message in messages]
        if self._settings.prompt_style == "chat":
            for message in messages:
                message["content"] = self._defuse(message["content"])
            ids = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        else:
            text = "".join(message["content"] for message in messages)
            ids = self.tokenizer.encode(text, split_special_tokens=True)
        limit = self.rollout_config.prompt_length
        if len(ids) > limit:
            raise ValueError(
                f"a prompt has {len(ids)} tokens, more than data.max_prompt_length={limit}; raise "
                f"it or drop the question. It begins: {messages[-1]['content'][:80]!r}"
            )
        return list(ids)

    def _defuse(self, content: str) -> str:
        """Keep a question that contains a special token from ending its own chat turn."""
        for token in self.tokenizer.all_special_tokens:
            content = content.replace(token, f"{token[:1]} {token[1:]}")
        return content

    def _eos_ids(self) -> tuple[int, ...]:
        """Give every id at which vLLM ends the text: instruct models list several."""
        return _eos_ids(self.config.actor_rollout_ref.model.path) or (self.tokenizer.eos_token_id,)

    def _output(self, trajectory: Trajectory, reward: float | None) -> AgentLoopOutput:
        """Hand a trajectory to verl; one that infrastructure ended is masked out of learning."""
        is_lost = trajectory.stop_reason is not None and trajectory.stop_reason.is_infrastructure
        if not trajectory.response_ids:  # verl needs one token to hang the reward on
            trajectory.append_observation(self._eos_ids()[:1])
        return AgentLoopOutput(
            prompt_ids=trajectory.prompt_ids,
            response_ids=trajectory.response_ids,
            response_mask=[0] * len(trajectory.response_mask)
            if is_lost
            else trajectory.response_mask,
            response_logprobs=trajectory.response_logprobs,
            reward_score=reward,
            num_turns=len(trajectory.turns)
            + trajectory.num_searches
            + 1,  # verl counts user and tool turns too
            metrics=AgentLoopMetrics(
                generate_sequences=sum(turn.generate_s for turn in trajectory.turns),
                tool_calls=sum(turn.tool_s for turn in trajectory.turns),
            ),
            extra_fields={
                "min_global_steps": trajectory.metadata.get("min_global_steps", trajectory.step),
                "max_global_steps": trajectory.metadata.get("max_global_steps", trajectory.step),
                "model_text": trajectory.model_text,
                "trajectory": trajectory.to_json(),
                "reward_extra_info": _validation_scores(trajectory),
            },
        )


def _validation_scores(trajectory: Trajectory) -> dict[str, Any]:
    """Give what verl's validation averages per data source; ``acc`` is its headline figure."""
    return {
        "acc": trajectory.reward["em"],
        "f1": trajectory.reward["f1"],
        "format": trajectory.reward["format"],
        "searches": float(trajectory.num_searches),
        "answered": float(trajectory.stop_reason is StopReason.ANSWER),
        "retriever_failed": float(trajectory.stop_reason is StopReason.RETRIEVER_FAILED),
    }


@functools.lru_cache(maxsize=1)
def _client(config: SearchClientConfig) -> SearchClient:
    """Share one pooled client among the trajectories of this process."""
    return SearchClient(config)


@functools.cache
def _eos_ids(model_path: str) -> tuple[int, ...]:
    ids: set[int] = set()
    for kind in (GenerationConfig, AutoConfig):
        try:
            eos = kind.from_pretrained(model_path).eos_token_id
        except (OSError, ValueError, AttributeError):  # the file or the field is missing
            continue
        ids |= set(eos) if isinstance(eos, list) else {eos} - {None}
    return tuple(sorted(ids))


_settings_of: dict[int, SearchSettings] = {}


def _settings(config: DictConfig) -> SearchSettings:
    """Read the settings once per process, not once per trajectory."""
    if id(config) not in _settings_of:
        _settings_of[id(config)] = read_settings(config)
    return _settings_of[id(config)]
