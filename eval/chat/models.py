"""The models of a chat: what each was trained with, and one vLLM for one of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.steps import DataPrepError
from eval.answerers import Answerer
from eval.chat.session import ReadyModel
from eval.engine import LocalEngine, open_tokens
from eval.evaluator import ModelSetup
from eval.protocol import describe_corpus
from eval.run import Setting, asking_of, read_setting
from search_r1.client import SearchClient
from search_r1.errors import LaunchError
from search_r1.runs.layout import CONFIG
from search_r1.serving.run import find_trained

_PROMPT = "search_r1"  # where neither the run nor --prompt names one


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that can be chosen."""

    name: str
    """As the command line has it."""
    folder: str
    setting: Setting


def read_choices(models: Sequence[str], config: Path | None, retriever: str | None) -> list[Choice]:
    """Find models and the configs that they were trained with.

    Args:
        models: Run folders, whose last models are meant; or model folders, or names on a hub.
        config: A run's config.yaml for models of no run.
        retriever: Address of the retrieval server instead of the configs'.

    Raises:
        DataPrepError: If a run has no model, a config cannot be used, or a name is given twice.
    """
    if twice := sorted({name for name in models if models.count(name) > 1}):
        raise DataPrepError(f"--model {twice[0]} is given twice; give each model once.")
    choices = []
    for name in models:
        try:
            trained = find_trained(name)
        except LaunchError as error:
            raise DataPrepError(f"--model: {error}") from error
        own = trained.run_dir / CONFIG if trained.run_dir else config
        choices.append(Choice(name, trained.model, read_setting(own, retriever, wait_s=0)))
    return choices


class Models:
    """Loads one model at a time; those of one shape and one setting share an engine.

    Args:
        choices: What :func:`read_choices` gave.
        prompt: Prompt instead of the configs'.
    """

    def __init__(self, choices: Sequence[Choice], prompt: str | None) -> None:
        self._choices = {choice.name: choice for choice in choices}
        self._prompt = prompt
        self._engine: LocalEngine | None = None
        self._options: dict[str, object] = {}
        self._askings: dict[str, ModelSetup] = {}
        self._clients: list[SearchClient] = []

    async def check(self) -> None:
        """Ask every retrieval server whether it is there.

        Raises:
            DataPrepError: If one is not.
        """
        for client in {choice.setting.client for choice in self._choices.values()}:
            await describe_corpus(client)

    async def load(self, name: str) -> ReadyModel:
        """Make a model ready; nothing else runs in this process while an engine starts.

        Raises:
            DataPrepError: If it cannot be used.
        """
        choice = self._choices[name]
        if self._engine is not None and self._options != choice.setting.engine:
            await self._engine.close()
            self._engine = None
        if self._engine is None:
            self._options = choice.setting.engine
            self._engine = LocalEngine(self._options)
        asking = self._askings.get(name) or self._asking_of(choice, self._engine)
        self._askings[name] = asking
        await self._engine.load(choice.folder)
        return ReadyModel(asking, self._engine.at)

    async def aclose(self) -> None:
        """Stop the engine and let go of the servers."""
        if self._engine is not None:
            await self._engine.close()
        for asking in self._askings.values():
            await asking.aclose()
        for client in self._clients:
            await client.aclose()

    def _asking_of(self, choice: Choice, engine: LocalEngine) -> ModelSetup:
        client = SearchClient(choice.setting.client)
        self._clients.append(client)
        prompt = self._prompt or choice.setting.form.prompt or _PROMPT
        answerer = Answerer(choice.name, choice.folder, prompt, ())
        tokens = open_tokens(choice.folder)
        return asking_of(answerer, tokens, choice.setting, engine, client, with_examples=False)
