"""What this machine's processor computes fast: one answer for trainer and retriever.

The two know nothing of each other, so what both ask stands here. Imports no engine.

bf16 is the fast type only where the processor has instructions for it. Elsewhere every bf16 product
is emulated, and several times slower than in fp32.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of /proc/cpuinfo that stand for bf16 products: Intel and AMD, Intel's matrix unit, ARM."""

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = re.compile(r"^(?:flags|Features)\s*:\s*(.*)$", re.MULTILINE)
_MODEL = re.compile(r"^model name\s*:\s*(.*)$", re.MULTILINE)
# Values under which torch or oneDNN leave the bf16 instructions of the processor alone.
_ATEN_WITHOUT_BF16 = frozenset({"default", "avx2"})
_ONEDNN_WITH_BF16 = (
    *("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10", "DEFAULT", "ALL"),
)


def fast_dtype(
    flags: Iterable[str] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Name the type in which this processor multiplies matrices fastest.

    Args:
        flags: The processor's, as /proc/cpuinfo lists them; this machine's when None.
        environment: Where ``ATEN_CPU_CAPABILITY`` and ``ONEDNN_MAX_CPU_ISA`` may hold torch and
            oneDNN to older instructions; this process's when None.

    Returns:
        ``bf16`` or ``fp32``.
    """
    present = set(_flags() if flags is None else flags)
    variables = os.environ if environment is None else environment
    is_held_back = variables.get("ATEN_CPU_CAPABILITY", "").lower() in _ATEN_WITHOUT_BF16
    isa = variables.get("ONEDNN_MAX_CPU_ISA", "").upper()
    is_held_back |= bool(isa) and not isa.startswith(_ONEDNN_WITH_BF16)
    return "bf16" if present & BF16_FLAGS and not is_held_back else "fp32"


def describe() -> str:
    """Name the processor and what it has, in a line: ``AMD EPYC, AVX2``."""
    names = _MODEL.findall(_cpuinfo())
    present = set(_flags())
    widest = next(
        (
            label
            for flag, label in (
                ("amx_bf16", "AMX with bf16"),
                ("avx512_bf16", "AVX512 with bf16"),
                ("bf16", "bf16"),
                ("avx512f", "AVX512 without bf16"),
                ("avx2", "AVX2"),
            )
            if flag in present
        ),
        "no vector instructions known here",
    )
    return f"{names[0].strip() if names else platform.machine()}, {widest}"


def _flags() -> list[str]:
    found = _FLAGS.search(_cpuinfo())
    return found.group(1).split() if found else []


def _cpuinfo() -> str:
    try:
        return _CPUINFO.read_text()
    except OSError:
        return ""
