"""Which type a processor multiplies fast, for flags and environments of many machines."""

import subprocess
import sys
from pathlib import Path

import pytest

import processor

AVX2 = ["fpu", "sse4_2", "avx", "avx2", "fma", "f16c"]
AVX512 = [*AVX2, "avx512f", "avx512_vnni"]
ZEN4 = [*AVX512, "avx512_bf16"]
SAPPHIRE_RAPIDS = [*ZEN4, "amx_tile", "amx_bf16", "amx_int8"]
ARM = ["fp", "asimd", "sve", "bf16", "i8mm"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (AVX2, "fp32"),
        (AVX512, "fp32"),
        (ZEN4, "bf16"),
        (SAPPHIRE_RAPIDS, "bf16"),
        ([*AVX2, "amx_bf16"], "bf16"),
        (ARM, "bf16"),
        (["fp", "asimd"], "fp32"),
        ([], "fp32"),
        (["avx512_bf16x", "nobf16"], "fp32"),
    ],
)
def test_bf16_is_fast_only_with_instructions_for_it(flags: list[str], expected: str) -> None:
    assert processor.fast_dtype(flags, {}) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "bf16"),
        ({"ATEN_CPU_CAPABILITY": "avx2"}, "fp32"),
        ({"ATEN_CPU_CAPABILITY": "default"}, "fp32"),
        ({"ATEN_CPU_CAPABILITY": "avx512"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "fp32"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, "fp32"),
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX_FP16"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, "bf16"),
        ({"ONEDNN_MAX_CPU_ISA": ""}, "bf16"),
        ({"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX2"}, "fp32"),
    ],
)
def test_engines_held_to_older_instructions_have_no_fast_bf16(
    environment: dict[str, str], expected: str
) -> None:
    assert processor.fast_dtype(SAPPHIRE_RAPIDS, environment) == expected
    assert processor.fast_dtype(AVX2, environment) == "fp32"


def use(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (AVX2, "AVX2"),
        (AVX512, "AVX512 without bf16"),
        (ZEN4, "AVX512 with bf16"),
        (SAPPHIRE_RAPIDS, "AMX with bf16"),
        (["sse4_2"], "no vector instructions known here"),
    ],
)
def test_a_processor_is_described_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], said: str
) -> None:
    cores = f"processor\t: 0\nmodel name\t: Model X 9 @ 2 GHz\nflags\t\t: {' '.join(flags)}\n\n" * 2
    use(monkeypatch, tmp_path / "cpuinfo", cores)
    assert processor.describe() == f"Model X 9 @ 2 GHz, {said}"


def test_this_machines_own_flags_and_environment_count_when_none_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    use(monkeypatch, tmp_path / "cpuinfo", "Features\t: fp asimd bf16\n")
    assert processor.fast_dtype() == "bf16"
    assert processor.describe().endswith(", bf16"), "ARM names no model"
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert processor.fast_dtype() == "fp32"


def test_a_machine_that_tells_nothing_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "absent")
    assert processor.fast_dtype(environment={}) == "fp32"
    assert processor.describe().endswith("no vector instructions known here")


def test_a_process_of_its_own_is_held_back_by_its_environment() -> None:
    code = "import processor; print(processor.fast_dtype())"
    root = Path(__file__).resolve().parents[2]
    held_back = {"ATEN_CPU_CAPABILITY": "avx2", "PATH": "/usr/bin"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=held_back, capture_output=True, check=True
    )
    assert said.stdout == b"fp32\n"
