import asyncio
import re
import resource
import subprocess
import sys

import pytest

from search_r1.demo import SCENARIOS, find_codec, main, play, render
from search_r1.types import StopReason


@pytest.fixture
def without_artifacts(monkeypatch, tmp_path):
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path))


def test_each_scenario_ends_as_its_title_says(byte_codec):
    played = [asyncio.run(play(scenario, byte_codec)) for scenario in SCENARIOS]
    assert [trajectory.stop_reason for trajectory in played] == [
        StopReason.ANSWER,
        StopReason.ANSWER,
        StopReason.SEARCH_LIMIT,
        StopReason.RETRIEVER_FAILED,
    ]
    assert [trajectory.reward["em"] for trajectory in played] == [1, 1, 0, 0]
    assert [len(trajectory.turns) for trajectory in played] == [2, 3, 2, 1]


def test_the_demo_prints_every_turn_with_its_mask(capsys):
    main()
    printed = capsys.readouterr().out
    assert "\033" not in printed  # not a terminal
    assert printed.count(", mask 1, ended by") == 8
    assert printed.count(", mask 0, observation") == 4
    assert "fed exactly the recorded ids in 3 of 3 turns" in printed
    assert "masked out of learning" in printed
    for scenario in SCENARIOS:
        assert f"== {scenario.title} ==" in printed


def test_colour_changes_no_text(byte_codec):
    trajectory = asyncio.run(play(SCENARIOS[0], byte_codec))
    colored = render("title", trajectory, byte_codec, has_color=True)
    plain = render("title", trajectory, byte_codec, has_color=False)
    assert "\033[32m" in colored
    assert re.sub(r"\033\[[\d;]*m", "", colored) == plain


@pytest.mark.parametrize(("no_color", "is_colored"), [("", True), ("1", False)])
def test_a_terminal_has_colour_unless_no_color_is_set(monkeypatch, capsys, no_color, is_colored):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    main()
    assert ("\033[" in capsys.readouterr().out) == is_colored


def test_the_demo_needs_no_download(without_artifacts, capsys):
    codec, name = find_codec()
    assert codec.decode([*codec.encode("é🐋"), *codec.eos_ids]) == "é🐋<|end|>"
    main()
    assert name in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_is_quick_and_imports_no_engine():
    code = (
        "import sys; from search_r1.demo import main; main(); "
        "found = {'torch', 'transformers', 'verl', 'vllm'} & set(sys.modules); "
        "sys.exit(f'imported {found}' if found else 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "stop reason: answer" in result.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3
