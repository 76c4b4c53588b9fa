"""What all trajectories of one process share, made from the training config once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.utils.fs import copy_to_local
from verl.utils.tokenizer import hf_tokenizer

from search_r1.assembly import LoopParts, assemble
from search_r1.client import SearchClient
from search_r1.eos_ids import eos_ids_of
from search_r1.errors import ToolFailedError
from search_r1.format_check import check_format
from search_r1.prompts import build_prompt
from search_r1.rows import question_of, read_rows
from search_r1.runs.progress import ProgressFile
from search_r1.styles import Message
from search_r1.types import ToolCall
from search_r1.verl_plugin.progress_rollout import RolloutProgress
from search_r1.verl_plugin.settings import SearchSettings, read_settings


class ProcessParts:
    """Settings, retriever client and loop parts of one training process.

    Args:
        config: The whole training config.
        tokenizer: The policy's tokenizer.
    """

    def __init__(self, config: DictConfig, tokenizer: Any) -> None:
        self.settings: SearchSettings = read_settings(config)
        if not self.settings.is_observation_masked:
            _require_own_logprobs(config)
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
        question = question_of(row)
        if not question:
            raise ValueError(
                f"search_r1.prompt is {name!r}, but a row has no extra_info.question to put into "
                "it; make the question file again with data_prep, or set prompt to null."
            )
        return list(build_prompt(name, question))


_BATCH = 4096  # prompts that are tokenised at once
_SLACK = 32  # tokens by which one prompt's template may take more than another's

_shared: dict[int, tuple[DictConfig, ProcessParts]] = {}  # a config kept is an id kept


def shared(config: DictConfig, tokenizer: Any) -> ProcessParts:
    """Give this process's shared parts; verl makes an agent loop for every trajectory."""
    if id(config) not in _shared:
        _shared[id(config)] = config, ProcessParts(config, tokenizer)
    return _shared[id(config)][1]


def check_prompts(config: DictConfig) -> None:
    """Check every question file: its rows, the length of its prompts, and the format of the first.

    Raises:
        ValueError: If something does not fit together; the message says what to change.
    """
    try:
        made = ProcessParts(config, load_tokenizer(config.actor_rollout_ref.model))
    except ToolFailedError as error:
        raise ValueError(f"a tool of search_r1.tools cannot be used: {error}") from error
    try:
        if made.settings.cold_start or made.settings.evaluation:  # both have calls written for them
            made.parts.parser.write_call(ToolCall("search", {"query": "any"}))
        for key in ("train_files", "val_files"):
            files = config.data[key]
            for file in [files] if isinstance(files, str) else files:
                _check_file(made, file, config.data.max_prompt_length)
    finally:
        asyncio.run(_close(made))


def _require_own_logprobs(config: DictConfig) -> None:
    """Refuse to train on observations with the rollout's log-probs: it never sampled them."""
    if OmegaConf.select(config, "algorithm.rollout_correction.bypass_mode"):
        raise ValueError(
            "search_r1.is_observation_masked is false, but the rollout's log-probs serve as the "
            "old ones, and observations have none; set "
            "algorithm.rollout_correction.bypass_mode=false."
        )


def too_long(length: int, limit: int, messages: Sequence[Message]) -> str:
    """Word the error of a prompt that does not fit."""
    return (
        f"a prompt has {length} tokens, more than data.max_prompt_length={limit}; raise it or drop "
        f"the question. It begins: {messages[-1]['content'][:80]!r}"
    )


def load_tokenizer(model: DictConfig) -> Any:
    """Load the policy's tokenizer as verl's workers do from the ``model`` section of the config."""
    path = copy_to_local(model.get("tokenizer_path") or model.path)
    trusts = bool(model.get("trust_remote_code"))
    tokenizer = hf_tokenizer(path, trust_remote_code=trusts)
    if model.get("custom_chat_template"):
        tokenizer.chat_template = model.custom_chat_template
    return tokenizer


def _check_file(made: ProcessParts, file: str, limit: int) -> None:
    """Check the rows of a question file, their prompts' length, and the first one's format."""
    rows = read_rows(file, needs_question=made.settings.form.prompt is not None)
    prompts: Iterator[Sequence[Message]] = (
        made.messages_of(row | {"raw_prompt": row["prompt"]}) for row in rows
    )
    first = next(prompts, None)
    if first is None:
        raise ValueError(f"{file} has no question; make it again.")
    if made.settings.is_format_checked:
        check_format(made.parts, first)
    template = len(made.parts.style.prompt_ids(first)) - made.parts.codec.count([_text(first)])[0]
    near = limit - template - _SLACK  # only longer ones are put into their template, which is slow
    all_prompts = itertools.chain([first], prompts)
    while batch := list(itertools.islice(all_prompts, _BATCH)):
        counts = made.parts.codec.count([_text(messages) for messages in batch])
        for messages, count in zip(batch, counts, strict=True):
            if count > near and (length := len(made.parts.style.prompt_ids(messages))) > limit:
                raise ValueError(too_long(length, limit, messages))


def _text(messages: Sequence[Message]) -> str:
    return "".join(str(message["content"]) for message in messages)


async def _close(made: ProcessParts) -> None:
    await made.parts.tools.aclose()
    await made.client.aclose()
