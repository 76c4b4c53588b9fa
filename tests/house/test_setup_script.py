"""scripts/setup.sh on a small lock of its own: real venv, real pip, nothing from an index."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny-house"
version = "0.1"
[tool.setuptools]
packages = []
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    root = tmp_path / "house with a space"
    (root / "requirements").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "pyproject.toml").write_text(PROJECT)
    for name in ("cpu", "gpu", "dev"):
        (root / "requirements" / f"{name}.lock").write_text("# nothing\n")
    return root


def start(root: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHON": sys.executable, "PIP_NO_INDEX": "1", **environment}
    return subprocess.Popen(
        [str(root / "scripts" / "setup.sh"), *options],
        env=env, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(root: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    process = start(root, *options, **environment)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


needs_bundled_setuptools = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="a new venv has setuptools only up to Python 3.11"
)


@needs_bundled_setuptools
def test_two_calls_at_once_make_one_venv_and_the_next_call_is_quick(house: Path) -> None:
    calls = [start(house), start(house)]
    outputs = [call.communicate(timeout=100)[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert sum("installing 0 pinned packages" in text for text in outputs) == 1
    assert sum("another set-up of this folder is running" in text for text in outputs) == 1

    started = time.monotonic()
    assert run(house) == (0, "", "")
    assert time.monotonic() - started < 1.0


@needs_bundled_setuptools
def test_a_failed_install_says_what_to_do_and_the_next_call_repairs_it(house: Path) -> None:
    lock = house / "requirements" / "cpu.lock"
    lock.write_text("a-package-that-nobody-has==1.0\n")
    status, _, err = run(house)
    assert status == 1
    assert "a-package-that-nobody-has==1.0" in err
    assert "Run the same command again" in err
    assert run(house)[0] == 1  # still not taken for finished

    lock.write_text("# nothing\n")
    assert run(house)[0] == 0


@needs_bundled_setuptools
def test_a_venv_of_one_set_is_not_turned_into_the_other(house: Path) -> None:
    assert run(house)[0] == 0
    status, _, err = run(house, "--gpu")
    assert status == 1
    assert "this .venv holds the CPU set" in err


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_a_python_that_does_not_fit_is_one_clear_line(house: Path, version: str) -> None:
    python = house / f"python{version}"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    status, _, err = run(house, PYTHON=str(python))
    assert status == 1
    assert err.count("\n") == 1
    assert f"is Python {version}; the pinned packages need 3.11 or 3.12. Install" in err
    assert not (house / ".venv").exists()


def test_a_python_that_does_not_run_is_one_clear_line(house: Path) -> None:
    status, _, err = run(house, PYTHON="no-such-python")
    assert status == 1
    assert "PYTHON=no-such-python does not run" in err
    assert err.count("\n") == 1


def test_an_unknown_option_is_refused(house: Path) -> None:
    status, _, err = run(house, "--cuda")
    assert (status, err.count("\n")) == (1, 1)
    assert "unknown option '--cuda'" in err


def test_too_little_disk_stops_it_before_anything_is_written(house: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho head\necho /dev/x 100 50 2097152 50% /\n")
    (tools / "df").chmod(0o755)
    status, _, err = run(house, PATH=f"{tools}:{os.environ['PATH']}")
    assert status == 1
    assert "2 GB free" in err
    assert "needs 6 GB" in err
    assert not (house / ".venv").exists()
