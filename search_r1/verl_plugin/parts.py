"""What all trajectories of one process share, made from the training config once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet
from omegaconf import DictConfig
from transformers import AutoTokenizer

from search_r1.assembly import LoopParts, assemble
from search_r1.eos_ids import eos_ids_of
from search_r1.format_check import check_format
from search_r1.progress import ProgressFile
from search_r1.prompts import build_prompt
from search_r1.search_client import SearchClient
from search_r1.styles import Message
from search_r1.tools.base import ToolFailedError
from search_r1.types import ToolCall
from search_r1.verl_plugin.progress_rollout import RolloutProgress
from search_r1.verl_plugin.settings import SearchSettings, read_settings


class Shared:
    """Settings, retriever client and loop parts of one training process.

    Args:
        config: The whole training config.
        tokenizer: The policy's tokenizer.
    """

    def __init__(self, config: DictConfig, tokenizer: Any) -> None:
        self.settings: SearchSettings = read_settings(config)
        self.client = SearchClient(self.settings.retriever.client)
        self.progress = RolloutProgress(ProgressFile(self.settings.run_dir, "rollout"), self.client)
        self.eos_ids = eos_ids_of(config.actor_rollout_ref.model.path, tokenizer)
        self.parts: LoopParts = assemble(
            tokenizer, self.eos_ids, self.settings.form, self.settings.loop, self.client
        )

    def messages_of(self, row: Mapping[str, Any]) -> list[Message]:
        """Give the prompt of a row: its own, or its question in the prompt of the config."""
        name = self.settings.form.prompt
        if name is None:
            return [dict(message) for message in row["raw_prompt"]]
        question = row["extra_info"].get("question")
        if not question:
            raise ValueError(
                f"search_r1.prompt is {name!r}, but a row has no extra_info.question to put into "
                "it; make the question file again with data_prep, or set prompt to null."
            )
        return list(build_prompt(name, question))


_shared: dict[int, Shared] = {}


def shared(config: DictConfig, tokenizer: Any) -> Shared:
    """Give this process's shared parts; verl makes an agent loop for every trajectory."""
    if id(config) not in _shared:
        _shared[id(config)] = Shared(config, tokenizer)
    return _shared[id(config)]


def check_prompts(config: DictConfig) -> None:
    """Check tokenizer, template, tools and parser against the first prompt of every question file.

    Raises:
        ValueError: If they do not fit together; the message says what to change.
    """
    path = config.actor_rollout_ref.model.path
    try:
        made = Shared(config, AutoTokenizer.from_pretrained(path))
    except ToolFailedError as error:
        raise ValueError(f"a tool of search_r1.tools cannot be used: {error}") from error
    try:
        if made.settings.cold_start or made.settings.evaluation:  # both have calls written for them
            made.parts.parser.write_call(ToolCall("search", {"query": "any"}))
        for key in ("train_files", "val_files"):
            files = config.data[key]
            for file in [files] if isinstance(files, str) else files:
                messages = made.messages_of(_first_row(file))
                length = len(made.parts.style.prompt_ids(messages))
                if length > config.data.max_prompt_length:
                    raise ValueError(too_long(length, config.data.max_prompt_length, messages))
                if made.settings.is_format_checked:
                    check_format(made.parts, messages)
    finally:
        asyncio.run(_close(made))


def too_long(length: int, limit: int, messages: Sequence[Message]) -> str:
    """Word the error of a prompt that does not fit."""
    return (
        f"a prompt has {length} tokens, more than data.max_prompt_length={limit}; raise it or drop "
        f"the question. It begins: {messages[-1]['content'][:80]!r}"
    )


def _first_row(file: str) -> dict[str, Any]:
    """Read the first row of a question file, named as verl hands it to an agent loop."""
    rows = pyarrow.parquet.ParquetFile(file).iter_batches(1, columns=["prompt", "extra_info"])
    first = next(rows, None)
    if first is None or not len(first):
        raise ValueError(f"{file} has no question; make it again.")
    row = first.to_pylist()[0]
    return {"raw_prompt": row["prompt"], "extra_info": row["extra_info"] or {}}


async def _close(made: Shared) -> None:
    await made.parts.tools.aclose()
    await made.client.aclose()
