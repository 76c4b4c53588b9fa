"""The loop: generate, parse, call, observe, until a stop reason. START HERE.

Training, evaluation, the demo and the tests all run this file with another policy behind it. It
holds the whole protocol of a trajectory and nothing of any engine:

1. the policy continues the ids so far, until a stop string, its end-of-text token or the turn's
   budget;
2. the sampled ids are appended untouched (mask 1), then decoded only to be parsed;
3. a closed answer ends the trajectory;
4. calls go to their tools, side by side; what comes back is encoded once and appended (mask 0), and
   the model goes on;
5. anything else is a model's mistake: it is told so in one observation, while nudges are left;
6. a retriever or another tool that stays down ends the trajectory with its own stop reason. The
   model never reads about it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search_r1.observations import Body, EncodedText, Observation, fit_observation, number_passages
from search_r1.parsers.base import ToolParser
from search_r1.policies import Policy
from search_r1.styles import RawStyle, Style
from search_r1.tokens import Codec
from search_r1.tools.base import MISTAKES, REFUSALS, OutcomeStatus, ToolOutcome
from search_r1.tools.toolbox import ToolBox
from search_r1.turns import Answer, Calls, Mistake, TurnReader
from search_r1.types import CallRecord, FinishReason, StopReason, ToolCall, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Limits of one trajectory. Token counts are in tokens of the policy's tokenizer."""

    max_calls: int = 4
    """Calls that are answered, of whatever tool; after them the model has one final turn."""
    max_nudges: int = 1
    """Turns without a valid action that are told so; the next one ends the trajectory."""
    max_turn_tokens: int = 500
    """Budget of one turn's generation."""
    max_response_tokens: int = 4096
    """Budget of the whole response, observations included."""
    max_observation_tokens: int = 500
    """Cap of the result of one call, its tags included."""
    min_answer_tokens: int = 16
    """Room an observation must leave for the turn after it."""
    is_message_answer: bool = False
    """Take a finished turn without a call for the answer, as chat clients do, tags or not."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value, least = getattr(self, name), 0 if name in _MAY_BE_ZERO else 1
            if not isinstance(value, bool) and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}.")


_MAY_BE_ZERO = ("max_calls", "max_nudges")


def tell_nobody(turn: Turn) -> None:
    """Do nothing: nobody watches."""


class SearchLoop:
    """Runs trajectories. Holds no state of any of them, so one instance serves many at once.

    Args:
        policy: Continues token ids.
        codec: The policy's tokenizer.
        parser: The call format.
        tools: What the model can call.
        config: Limits.
        style: How results are written back; raw text between the parser's tags when None.
    """

    def __init__(
        self,
        policy: Policy,
        codec: Codec,
        parser: ToolParser,
        tools: ToolBox,
        config: LoopConfig,
        style: Style | None = None,
    ) -> None:
        self._policy = policy
        self._codec = codec
        self._tools = tools
        self._config = config
        self._style = style or RawStyle(codec, parser)
        self._reader = TurnReader(codec, parser, config.is_message_answer)
        tags = len(self._style.results([number_passages([])], False).ids)
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
        opening: str = "",
        closing: str = "",
        on_turn: Callable[[Turn], None] = tell_nobody,
    ) -> Trajectory:
        """Roll one trajectory out, from the prompt to its stop reason.

        Args:
            prompt_ids: What stands before the model's first turn.
            uid: Names the trajectory.
            question: As the record is to have it.
            gold_answers: As the record is to have them.
            opening: Text the first turn is made to begin with, such as ``<search>``: how evaluation
                forces a search or an answer. It is given, so its ids count to the prompt.
            closing: The same for the turn after the last search; its ids end the observation.
            on_turn: Told of each turn once it is answered, for somebody who watches.
        """
        ids = [*prompt_ids, *self._codec.encode(opening)]
        trajectory = Trajectory(uid, question, list(gold_answers), ids)
        nudges_left = self._config.max_nudges
        while trajectory.stop_reason is None:
            turn = await self._generate(trajectory, opening)
            opening = ""
            if turn is None:
                trajectory.stop_reason = StopReason.ABORTED
                break
            match self._reader.find_action(turn):
                case Answer(text):
                    trajectory.prediction = text
                    trajectory.stop_reason = StopReason.ANSWER
                case Calls(calls):
                    trajectory.stop_reason = await self._call(trajectory, turn, calls)
                    opening = self._begin_last(trajectory, turn, closing)
                case Mistake(error):
                    turn.error = error
                    trajectory.stop_reason = self._correct(trajectory, turn, nudges_left)
                    nudges_left -= 1
            on_turn(turn)
        return trajectory

    async def _generate(self, trajectory: Trajectory, opening: str) -> Turn | None:
        """Run the policy once and append what it sampled; None when it sampled nothing."""
        start = len(trajectory.response_ids)
        budget = min(self._config.max_turn_tokens, self._config.max_response_tokens - start)
        started = time.perf_counter()
        generation = await self._policy.generate(
            trajectory.context_ids,
            max_tokens=budget,
            stop=self._reader.stop,
            stop_token_ids=self._reader.stop_token_ids,
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
            stop_reason=generation.finish
            or self._reader.finish_reason(generation.ids, text, budget),
            generate_s=seconds,
            context_digest=generation.context_digest,
            opening=opening,
        )
        trajectory.turns.append(turn)
        return turn

    def _correct(self, trajectory: Trajectory, turn: Turn, nudges_left: int) -> StopReason | None:
        """Tell the model of its mistake while nudges are left; else give why it ends."""
        if turn.stop_reason is FinishReason.ABORT:
            return StopReason.ABORTED
        if nudges_left > 0:
            told = self._style.correction(turn.error or "", self._is_closed(trajectory))
            return self._observe(trajectory, turn, Observation(told.ids, told.text))
        is_spent = len(trajectory.response_ids) >= self._config.max_response_tokens
        return StopReason.RESPONSE_LENGTH if is_spent else StopReason.NO_ACTION

    def _begin_last(self, trajectory: Trajectory, turn: Turn, text: str) -> str:
        """Let the turn after the last search begin with a text; gives it, or nothing."""
        if trajectory.stop_reason is not None or trajectory.num_calls < self._config.max_calls:
            return ""
        ids = self._codec.encode(text)
        if len(ids) >= self._config.max_response_tokens - len(trajectory.response_ids):
            return ""
        trajectory.append_observation(ids)
        turn.observation_text += text
        turn.num_observation_ids += len(ids)
        return text

    def _is_closed(self, trajectory: Trajectory) -> bool:
        """Tell whether the model ended its last turn with a token of its own."""
        return trajectory.response_ids[-1] in self._reader.ending_ids

    async def _call(
        self, trajectory: Trajectory, turn: Turn, calls: list[ToolCall]
    ) -> StopReason | None:
        """Carry calls out and append what came of them; a stop reason when that ends it all."""
        turn.call = calls[0]
        left = self._config.max_calls - trajectory.num_calls
        if left < 1:
            return StopReason.SEARCH_LIMIT
        if self._room(trajectory) < 1:
            return StopReason.RESPONSE_LENGTH
        used = Counter(
            record.name
            for earlier in trajectory.turns
            for record in earlier.calls
            if record.status not in REFUSALS
        )
        started = time.perf_counter()
        outcomes = await self._tools.run(calls[:left], used)
        turn.tool_s = time.perf_counter() - started
        outcomes += [ToolOutcome(call, OutcomeStatus.CALL_LIMIT) for call in calls[left:]]
        turn.calls = [self._record(outcome) for outcome in outcomes]
        turn.well_formed = not any(outcome.status in MISTAKES for outcome in outcomes)
        for outcome in outcomes[:left]:
            if outcome.is_infrastructure:
                return self._fail(trajectory, outcome)
        return self._observe_results(trajectory, turn, outcomes[:left], len(calls[left:]))

    def _record(self, outcome: ToolOutcome) -> CallRecord:
        call = outcome.call
        is_search = call.name in self._tools.searches
        return CallRecord(
            call.name, call.arguments, outcome.status.value, outcome.seconds, is_search
        )

    def _fail(self, trajectory: Trajectory, outcome: ToolOutcome) -> StopReason:
        """Note an infrastructure failure where people look, never where the model reads."""
        if outcome.call.name in self._tools.searches:
            trajectory.metadata["retriever_error"] = outcome.detail
            return StopReason.RETRIEVER_FAILED
        trajectory.metadata["tool_error"] = f"{outcome.call.name}: {outcome.detail}"
        return StopReason.TOOL_FAILED

    def _observe_results(
        self,
        trajectory: Trajectory,
        turn: Turn,
        outcomes: Sequence[ToolOutcome],
        num_refused: int,
    ) -> StopReason | None:
        is_closed = self._is_closed(trajectory)

        def write(texts: list[str]) -> EncodedText:
            return self._style.results(texts, is_closed)

        bodies: list[Body] = [o.text if o.passages is None else o.passages for o in outcomes]
        if num_refused:
            most = self._config.max_calls
            bodies.append(f"{num_refused} not called: at most {most} calls are answered.")
        stop_reason = self._observe(
            trajectory,
            turn,
            fit_observation(
                bodies,
                write,
                self._codec,
                self._room(trajectory),
                self._config.max_observation_tokens,
            ),
        )
        turn.observation_truncated |= any(outcome.is_truncated for outcome in outcomes)
        return stop_reason

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
