"""`make test` runs every part of the tests, whatever the parts before it came to."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Stands in for .venv/bin/python: says which tests it was asked for, and fails some of them.
PYTHON = """#!/bin/sh
case "$*" in
    *"-m engine"*) part=engine ;;
    *"-m slow"*) part=slow ;;
    *) part=fast ;;
esac
echo "$part"
case "$FAILING" in *"$part"*) exit 1 ;; esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "failing", "parts"),
    [
        ("test", "", ["fast", "slow", "engine"]),
        ("test", "fast", ["fast", "slow", "engine"]),
        ("test", "slow", ["fast", "slow", "engine"]),
        ("test", "engine", ["fast", "slow", "engine"]),
        ("test-slow", "", ["slow", "engine"]),
        ("test-slow", "slow", ["slow", "engine"]),
        ("test-slow", "engine", ["slow", "engine"]),
        ("test-fast", "fast", ["fast"]),
    ],
)
def test_a_part_that_fails_keeps_no_other_from_running(
    tmp_path: Path, target: str, failing: str, parts: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    ran = subprocess.run(
        ["make", "--old-file=setup", target, f"BIN={tmp_path}"],
        cwd=ROOT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "FAILING": failing},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == parts, ran.stderr
    assert (ran.returncode == 0) == (not failing)
