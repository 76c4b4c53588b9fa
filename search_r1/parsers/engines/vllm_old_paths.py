"""Import paths that vLLM's documentation of tool parser plugins used, led to today's modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_OLD_PACKAGE, _NEW_PACKAGE = "vllm.entrypoints.openai.tool_parsers", "vllm.tool_parsers"
_OLD_PROTOCOL = "vllm.entrypoints.openai.protocol"
_OLD_TOKENIZER = "vllm.transformers_utils.tokenizer"
_PROTOCOLS = ("chat_completion", "completion", "responses", "engine")


@contextmanager
def old_import_paths() -> Iterator[None]:
    """Let a plugin file import vLLM's parsers from where they used to be.

    vLLM moved ``vllm.entrypoints.openai.tool_parsers``, ``vllm.entrypoints.openai.protocol`` and
    ``vllm.transformers_utils.tokenizer``; plugins written after its documentation import from
    there. Inside this context the old names lead to the present modules, unless the installed vLLM
    still has them itself. Afterwards they are gone again.
    """
    finder = _OldPathFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.found:
            sys.modules.pop(name, None)


class _OldPathFinder(MetaPathFinder, Loader):
    """Finds today's modules under their old names."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not f"{fullname}.".startswith(
            (f"{_OLD_PACKAGE}.", f"{_OLD_PROTOCOL}.", f"{_OLD_TOKENIZER}.")
        ):
            return None
        is_in_alias = fullname.rpartition(".")[0] in self.found
        if not is_in_alias and PathFinder.find_spec(fullname, path):
            return None  # this vLLM still has it
        self.found.append(fullname)
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name == _OLD_PROTOCOL:  # its classes live in several modules now
            for part in _PROTOCOLS:
                new = importlib.import_module(f"vllm.entrypoints.openai.{part}.protocol")
                vars(module).update({k: v for k, v in vars(new).items() if not k.startswith("_")})
        elif name == _OLD_TOKENIZER:
            new = importlib.import_module("vllm.tokenizers")
            vars(module).update(AnyTokenizer=new.TokenizerLike, get_tokenizer=new.get_tokenizer)
        else:  # the very module, so that a class imported by either path is the same class
            sys.modules[name] = importlib.import_module(name.replace(_OLD_PACKAGE, _NEW_PACKAGE))
