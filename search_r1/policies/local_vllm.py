"""A local vLLM engine as a policy of the loop: evaluation and benchmarks without a trainer."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from vllm import SamplingParams, TokensPrompt
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from search_r1.types import Generation, digest

__all__ = ["EngineDeadError", "LocalVllmPolicy"]

_WEIGHT_LOADER = "search_r1.policies.weights.WeightLoader"


class LocalVllmPolicy:
    """Continues token ids in this process's own vLLM engine; many trajectories may call it at once.

    Args:
        model: Model folder.
        temperature: 0 is greedy.
        engine_options: Passed to vLLM's ``AsyncEngineArgs`` (``max_model_len``, ...).
        seed: Seeds each request in turn, so that a run can be repeated; None samples freely.
    """

    def __init__(
        self,
        model: str,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        **engine_options: Any,
    ) -> None:
        engine_options.setdefault("worker_extension_cls", _WEIGHT_LOADER)
        self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **engine_options))
        self._temperature = temperature
        self._seed = seed
        self._request_ids = itertools.count()
        self._seeds = itertools.count(seed or 0)
        self._on_ids: Callable[[list[int]], None] | None = None

    def at(
        self, temperature: float, seed: int, on_ids: Callable[[list[int]], None] | None = None
    ) -> LocalVllmPolicy:
        """Give a policy on the same engine for one trajectory.

        Args:
            temperature: 0 is greedy.
            seed: Seeds its first turn; the next ones follow, whatever else the engine does.
            on_ids: Told of all ids of a turn so far, as they are sampled.
        """
        other = copy.copy(self)
        other._on_ids = on_ids
        other._temperature, other._seed = temperature, seed
        other._seeds = itertools.count(seed)
        return other

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
    ) -> Generation:
        """Sample one turn; the digest is of the ids the engine reports to have processed."""
        number = str(next(self._request_ids))
        params = SamplingParams(
            max_tokens=max_tokens,
            stop=list(stop),
            stop_token_ids=list(stop_token_ids),
            temperature=self._temperature,
            logprobs=0,
            ignore_eos=ignore_eos,
            seed=None if self._seed is None else next(self._seeds),
            output_kind=(
                RequestOutputKind.CUMULATIVE if self._on_ids else RequestOutputKind.FINAL_ONLY
            ),
        )
        prompt = TokensPrompt(prompt_token_ids=context_ids)
        async for result in self._engine.generate(prompt, params, request_id=number):
            final = result
            if self._on_ids is not None:
                self._on_ids(list(final.outputs[0].token_ids))
        completion = final.outputs[0]
        ids = list(completion.token_ids)
        logprobs = [
            step[token].logprob for token, step in zip(ids, completion.logprobs or [], strict=True)
        ]
        return Generation(ids, logprobs, context_digest=digest(final.prompt_token_ids or []))

    async def load(self, folder: str) -> None:
        """Go on with the weights of another model of the same architecture.

        Args:
            folder: Holds its ``*.safetensors``.
        """
        await self._engine.collective_rpc("load_folder", args=(folder,))
        await self.forget()

    async def forget(self) -> None:
        """Drop the prefix cache, as a weight update does."""
        await self._engine.reset_prefix_cache()

    def close(self) -> None:
        """Stop the engine and its processes."""
        self._engine.shutdown()
