"""train.sh as a user runs it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def train(*arguments: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    environment = dict(os.environ) | {"SEARCH_R1_SKIP_SETUP": "1", "SEARCH_R1_RUNS": str(cwd)} | env
    return subprocess.run(
        [str(ROOT / "train.sh"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )


def test_list_shows_every_preset_from_any_folder(tmp_path: Path) -> None:
    result = train("--list", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names[0] == "quickstart"
    assert {"grpo_3b_8gpu", "ppo_7b_8gpu", "grpo_lora_1gpu", "multinode"} < set(names)


def test_help_tells_the_commands(tmp_path: Path) -> None:
    result = train("--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "./train.sh quickstart trainer.resume_mode=auto" in result.stdout


def test_an_unknown_preset_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = train("grpo_3b", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown preset 'grpo_3b'; there are: quickstart, ")
    assert "Did you mean grpo_3b_8gpu?" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.slow
def test_an_unknown_override_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = train("trainer.total_step=3", cwd=tmp_path)
    assert result.returncode == 2
    assert "error: unknown override 'trainer.total_step'. Did you mean" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = train("--dryrun", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: unrecognized arguments: --dryrun; see ./train.sh --help\n"


@pytest.mark.slow  # imports verl: eight seconds
def test_dry_run_prints_the_checked_config_and_starts_nothing(tmp_path: Path) -> None:
    result = train("quickstart", "--dry-run", "trainer.total_training_steps=3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    assert config["trainer"]["total_training_steps"] == 3
    assert config["trainer"]["default_local_dir"].startswith(str(tmp_path / "quickstart"))
    assert "the config passes our checks and verl's. Nothing was started." in result.stderr
    assert list(tmp_path.iterdir()) == []


SETUP = """#!/usr/bin/env bash
echo "setup $*" >> "$(dirname "$0")/asked"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with presets of its own, whose set-up only writes down that it was asked."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "search_r1" / "configs", root / "search_r1" / "configs")
    for name, base in (("mine_on_cpu", "quickstart"), ("mine_on_gpu", "multinode # mine")):
        text = f"# Mine.\ndefaults:\n  - {base}\n  - _self_\nlist:\n  - gpu\n"
        (root / "search_r1" / "configs" / f"{name}.yaml").write_text(text)
    shutil.copy(ROOT / "train.sh", root)
    (root / "scripts").mkdir()
    (root / "scripts" / "setup.sh").write_text(SETUP)
    (root / "scripts" / "setup.sh").chmod(0o755)
    return root


def train_in(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    command = [str(root / "train.sh"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("quickstart", ""),
        ("mine_on_cpu", ""),
        ("grpo_3b_8gpu", "--gpu"),
        ("multinode", "--gpu"),
        ("mine_on_gpu", "--gpu"),
        ("no_such_preset", ""),
    ],
)
def test_a_new_environment_gets_the_set_the_preset_builds_on(
    checkout: Path, preset: str, options: str
) -> None:
    result = train_in(checkout, preset)
    assert "there is no" in result.stderr, "this setup makes no environment"
    assert (checkout / "scripts" / "asked").read_text().strip() == f"setup {options}".strip()


@pytest.mark.parametrize("option", ["--dry-run", "--list", "--help"])
def test_looking_sets_nothing_up(checkout: Path, option: str) -> None:
    result = train_in(checkout, "grpo_3b_8gpu", option)
    assert not (checkout / "scripts" / "asked").exists()
    if option == "--dry-run":
        assert result.returncode == 1
        assert "/.venv/bin/python; run scripts/setup.sh (--gpu for a GPU preset) first." in (
            result.stderr
        )
