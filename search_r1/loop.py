"""The loop: generate, parse, search, observe, until a stop reason. START HERE.

Training, evaluation, the demo and the tests all run this file with another policy behind it. It
holds the whole protocol of a trajectory and nothing of any engine:

1. the policy continues the ids so far, until a stop string, its end-of-text token or the turn's
   budget;
2. the sampled ids are appended untouched (mask 1), then decoded only to be parsed;
3. a closed answer ends the trajectory;
4. a search is sent to the retriever, its passages are encoded once and appended (mask 0), and the
   model goes on;
5. anything else is a model's mistake: it is told so in one observation, while nudges are left;
6. a retriever that stays down ends the trajectory with its own stop reason. The model never reads
   about it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from search_r1.answers import ANSWER_CLOSE, find_answer
from search_r1.observations import Observation, fit_observation
from search_r1.parsers.base import ParseStatus, ToolParser
from search_r1.policies import Policy
from search_r1.search_client import RetrieverError
from search_r1.tokens import Codec
from search_r1.types import (
    FinishReason,
    Generation,
    Passage,
    StopReason,
    ToolCall,
    Trajectory,
    Turn,
)


class Searcher(Protocol):
    """Answers queries; :class:`search_r1.search_client.SearchClient` is the real one."""

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Give the best passages of each query, best first; RetrieverError when it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Limits of one trajectory. Token counts are in tokens of the policy's tokenizer."""

    max_searches: int = 4
    """Searches that are answered; after them the model has one final turn."""
    max_nudges: int = 1
    """Turns without a valid action that are told so; the next one ends the trajectory."""
    top_k: int = 3
    """Passages per search."""
    max_turn_tokens: int = 500
    """Budget of one turn's generation."""
    max_response_tokens: int = 4096
    """Budget of the whole response, observations included."""
    max_observation_tokens: int = 500
    """Cap of the passages of one search, their tags included."""
    min_answer_tokens: int = 16
    """Room an observation must leave for the turn after it."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")


_LEAST = {
    "max_searches": 0,
    "max_nudges": 0,
    "top_k": 1,
    "max_turn_tokens": 1,
    "max_response_tokens": 1,
    "max_observation_tokens": 1,
    "min_answer_tokens": 1,
}


class SearchLoop:
    """Runs trajectories. Holds no state of any of them, so one instance serves many at once.

    Args:
        policy: Continues token ids.
        codec: The policy's tokenizer.
        parser: The call format.
        searcher: Answers the queries.
        config: Limits.
    """

    def __init__(
        self,
        policy: Policy,
        codec: Codec,
        parser: ToolParser,
        searcher: Searcher,
        config: LoopConfig,
    ) -> None:
        self._policy = policy
        self._codec = codec
        self._parser = parser
        self._searcher = searcher
        self._config = config
        self._stop = (*parser.stop, *parser.forbidden, ANSWER_CLOSE)
        tags = len(codec.encode(parser.format_observation([])))
        if config.max_observation_tokens <= tags:
            raise ValueError(
                f"max_observation_tokens is {config.max_observation_tokens}, but an observation "
                f"without any passage takes {tags} tokens already; raise it well above that."
            )

    async def run(
        self,
        prompt_ids: Sequence[int],
        *,
        uid: str = "",
        question: str = "",
        gold_answers: Sequence[str] = (),
    ) -> Trajectory:
        """Roll one trajectory out, from the prompt to its stop reason."""
        trajectory = Trajectory(uid, question, list(gold_answers), list(prompt_ids))
        nudges_left = self._config.max_nudges
        while trajectory.stop_reason is None:
            turn = await self._generate(trajectory)
            if turn is None:
                trajectory.stop_reason = StopReason.ABORTED
                break
            action = self._parse(turn)
            if isinstance(action, str):
                trajectory.prediction = action
                trajectory.stop_reason = StopReason.ANSWER
            elif isinstance(action, ToolCall):
                trajectory.stop_reason = await self._search(trajectory, turn, action)
            elif turn.stop_reason is FinishReason.ABORT:
                trajectory.stop_reason = StopReason.ABORTED
            elif nudges_left > 0:
                nudges_left -= 1
                text = self._parser.format_error(turn.error or "")
                error = Observation(self._codec.encode(text), text)
                trajectory.stop_reason = self._observe(trajectory, turn, error)
            elif len(trajectory.response_ids) >= self._config.max_response_tokens:
                trajectory.stop_reason = StopReason.RESPONSE_LENGTH
            else:
                trajectory.stop_reason = StopReason.NO_ACTION
        return trajectory

    async def _generate(self, trajectory: Trajectory) -> Turn | None:
        """Run the policy once and append what it sampled; None when it sampled nothing."""
        start = len(trajectory.response_ids)
        budget = min(self._config.max_turn_tokens, self._config.max_response_tokens - start)
        started = time.perf_counter()
        generation = await self._policy.generate(
            trajectory.context_ids, max_tokens=budget, stop=self._stop
        )
        seconds = time.perf_counter() - started
        trajectory.metadata.update(generation.metadata)
        if len(generation.ids) > budget:
            raise ValueError(
                f"the policy sampled {len(generation.ids)} tokens, but max_tokens was {budget}; "
                "pass max_tokens on to the engine."
            )
        if not generation.ids:
            return None
        trajectory.append_model(generation.ids, generation.logprobs)
        text = self._codec.decode(generation.ids)
        turn = Turn(
            model_text=text,
            start=start,
            num_ids=len(generation.ids),
            stop_reason=self._finish_reason(generation, text, budget),
            generate_s=seconds,
            context_digest=generation.context_digest,
        )
        trajectory.turns.append(turn)
        return turn

    def _finish_reason(self, generation: Generation, text: str, budget: int) -> FinishReason:
        """Tell from the ids how the turn ended; engines report it differently or not at all."""
        if any(stop in text for stop in self._stop):
            return FinishReason.STOP
        if generation.ids[-1] in self._codec.eos_ids:
            return FinishReason.EOS
        return FinishReason.LENGTH if len(generation.ids) >= budget else FinishReason.ABORT

    def _parse(self, turn: Turn) -> str | ToolCall | None:
        """Find the turn's action: an answer, a call, or None for a mistake.

        Of the two, the one closed first counts. A mistake is described in ``turn.error``.
        """
        parsed = self._parser.extract_tool_calls(turn.model_text)
        answer = find_answer(turn.model_text)
        is_call = parsed.status is ParseStatus.CALL and (answer is None or parsed.end < answer[1])
        end = parsed.end if is_call else answer[1] if answer else len(turn.model_text)
        for text in self._parser.forbidden:
            if 0 <= turn.model_text.find(text) < end:
                turn.error = f"{text} is written by the search engine, not by you"
                return None
        if is_call or answer:
            turn.well_formed = True
            turn.overrun = bool(turn.model_text[end:])
            return parsed.tool_calls[0] if is_call else answer[0] if answer else None
        turn.is_malformed_call = parsed.status is ParseStatus.MALFORMED
        turn.error = parsed.error or "there was neither a search nor an answer"
        return None

    async def _search(
        self, trajectory: Trajectory, turn: Turn, call: ToolCall
    ) -> StopReason | None:
        """Answer a call and append its observation; gives a stop reason when that ends it all."""
        turn.call = call
        if trajectory.num_searches >= self._config.max_searches:
            return StopReason.SEARCH_LIMIT
        room = min(self._config.max_observation_tokens, self._room(trajectory))
        if room < 1:
            return StopReason.RESPONSE_LENGTH
        started = time.perf_counter()
        try:
            (passages,) = await self._searcher.search([call.arguments["query"]], self._config.top_k)
        except RetrieverError as error:
            trajectory.metadata["retriever_error"] = str(error)
            return StopReason.RETRIEVER_FAILED
        finally:
            turn.tool_s = time.perf_counter() - started
        return self._observe(
            trajectory, turn, fit_observation(passages, self._parser, self._codec, room)
        )

    def _room(self, trajectory: Trajectory) -> int:
        """Count the tokens an observation may take, so that the model can still answer after it."""
        left = self._config.max_response_tokens - len(trajectory.response_ids)
        return left - self._config.min_answer_tokens

    def _observe(
        self, trajectory: Trajectory, turn: Turn, observation: Observation | None
    ) -> StopReason | None:
        """Append an observation; without room for it the trajectory ends on the model's words."""
        if observation is None or len(observation.ids) > self._room(trajectory):
            return StopReason.RESPONSE_LENGTH
        trajectory.append_observation(observation.ids)
        turn.observation_text = observation.text
        turn.num_observation_ids = len(observation.ids)
        turn.observation_truncated = observation.is_truncated
        turn.passage_ids = observation.passage_ids
        return None
