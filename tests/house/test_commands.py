"""Every command that README and docs show can be given: its module, options, preset, keys exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from search_r1.configs.presets import compose

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
OURS = ("retriever", "search_r1", "data_prep", "eval", "benchmarks")
FIRST = re.compile(r"(?:[A-Z_]+=\S+ )*((?:\S*/)?python3?|\./train\.sh|make)(?: |$)")


def shown():
    """Give every command as ``(page, words)``, comments and what runs in the background cut off."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [block.replace("\\\n", " ") for block in BLOCK.findall(text)]
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        lines += INLINE.findall(BLOCK.sub("", text))
        for line in lines:
            if start := FIRST.match(line):
                words = shlex.split(line[start.start(1) :], comments=True)
                yield page.name, words[: words.index("&")] if "&" in words else words


COMMANDS = list(shown())
MODULES = sorted(
    {words[2] for _, words in COMMANDS if words[1:2] == ["-m"] and words[2].split(".")[0] in OURS}
)
TRAINING = sorted(
    {
        (words[1], *(word for word in words[2:] if re.match(r"[+~]?[a-z_0-9.]+=", word)))
        for _, words in COMMANDS
        if words[0] == "./train.sh" and len(words) > 1 and re.fullmatch(r"[a-z_0-9]+", words[1])
    }
    - {("the",), ("any",)}
)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_modules_that_are_shown_take_the_options_that_are_shown(module):
    asked = [sys.executable, "-m", module, "--help"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", told.stdout))
    for page, words in COMMANDS:
        if words[1:3] == ["-m", module]:
            given = {word.partition("=")[0] for word in words[3:] if word.startswith("-")}
            assert given <= known | {"--help"}, f"{page}: {shlex.join(words)}"


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_the_presets_and_overrides_that_are_shown_compose(command):
    preset, *overrides = command
    compose(preset, overrides)


def test_the_targets_that_are_shown_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page, words in COMMANDS:
        if words[0] == "make" and len(words) > 1:
            given = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)]
            assert set(given) <= targets, f"{page}: {shlex.join(words)}"


def test_scripts_that_are_shown_exist():
    for page, words in COMMANDS:
        script = words[1] if len(words) > 1 and words[1].endswith(".py") else None
        if words[0].endswith("python") and script:
            assert (ROOT / script).is_file(), f"{page}: {shlex.join(words)}"


def test_commands_are_found():
    assert len(MODULES) > 12
    assert ("quickstart",) in TRAINING
