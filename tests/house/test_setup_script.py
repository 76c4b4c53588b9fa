"""scripts/setup.sh on a small lock of its own: real venv, real pip, nothing from an index."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny-house"
version = "0.1"
"""
# A new venv has no setuptools that can build, so the sample project brings its own backend.
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny_house-0.1-py3-none-any.whl"
    files = {
        "METADATA": "Metadata-Version: 2.1\\nName: tiny-house\\nVersion: 0.1\\n",
        "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        for file, text in files.items():
            wheel.writestr("tiny_house-0.1.dist-info/" + file, text)
    return name
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    root = tmp_path / "house with a space"
    (root / "requirements").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "backend.py").write_text(BACKEND)
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
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.engine
def test_two_calls_at_once_make_one_venv_and_the_next_call_does_nothing(house: Path) -> None:
    calls = [start(house), start(house)]
    outputs = [call.communicate()[1] for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert sum("installing 0 pinned packages" in text for text in outputs) == 1
    assert sum("another set-up of this folder is running" in text for text in outputs) == 1
    assert run(house) == (0, "", "")


@pytest.mark.slow
@pytest.mark.engine
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


@pytest.mark.slow
@pytest.mark.engine
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
    assert f"is Python {version}; the CPU set needs 3.11 or 3.12. Install" in err
    assert not (house / ".venv").exists()


def test_the_gpu_set_wants_a_python_of_its_own(house: Path) -> None:
    python = house / "python3.11"
    python.write_text("#!/bin/sh\necho 3.11\n")
    python.chmod(0o755)
    status, _, err = run(house, "--gpu", PYTHON=str(python))
    assert status == 1
    assert "is Python 3.11; the GPU set needs 3.12." in err


def test_a_python_that_does_not_run_is_one_clear_line(house: Path) -> None:
    status, _, err = run(house, PYTHON="no-such-python")
    assert status == 1
    assert "PYTHON=no-such-python does not run" in err
    assert err.count("\n") == 1


def test_an_unknown_option_is_refused(house: Path) -> None:
    status, _, err = run(house, "--cuda")
    assert (status, err.count("\n")) == (1, 1)
    assert "unknown option '--cuda'" in err


def test_what_lies_behind_a_link_is_left_as_it_is(house: Path, tmp_path: Path) -> None:
    other = tmp_path / "another checkout" / ".venv"
    (other / ".setup").mkdir(parents=True)
    (other / ".setup" / "root").write_text(str(other.parent))
    (other / "packages").touch()
    (house / ".venv").symlink_to(other)
    status, out, err = run(house)
    assert (status, out) == (1, "")
    assert f"the .venv here is a link to {other}, which set-up leaves as it is. Use it" in err
    assert sorted(path.name for path in other.iterdir()) == [".setup", "packages"]


def test_a_folder_that_set_up_did_not_make_is_not_cleared(house: Path) -> None:
    (house / ".venv").mkdir()
    (house / ".venv" / "mine").touch()
    status, _, err = run(house)
    assert status == 1
    assert "the .venv here does not run, and set-up did not make it. Move or delete it" in err
    assert (house / ".venv" / "mine").exists()


@pytest.mark.slow
@pytest.mark.engine
def test_what_set_up_made_and_no_longer_runs_is_made_anew(house: Path) -> None:
    assert run(house)[:2] == (0, "")
    python = house / ".venv" / "bin" / "python"
    python.unlink()
    status, _, err = run(house)
    assert status == 0
    assert "the .venv here does not run; making it anew" in err
    assert python.exists()
    (house.parent / "by a link").symlink_to(house)
    assert run(house.parent / "by a link") == (0, "", "")


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
