"""What somebody gets who installs the wheel: whole, and at home in the folder they work in."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):  # a copy, so that no build/ is left in ours
        if name.endswith((".py", ".toml", ".yaml", ".jinja", ".typed", "README.md")) or (
            name.startswith(("eval/", "data_prep/")) or name in ("LICENSE", "NOTICE")
        ):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder]
    subprocess.run([sys.executable, *map(str, build), str(copy)], check=True, timeout=300)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel in it, over the packages of this one."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    (site,) = (venv / "lib").glob("python*/site-packages")
    # The packages alone: the finder of this checkout's editable install is a .pth, which only a
    # site folder reads.
    (site / "locked.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    target = ["--no-deps", "--quiet", "--prefix", str(venv), "--ignore-installed", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "install", *target], check=True, timeout=300)
    return python


def run(installed, folder, *arguments):
    """Run something of the environment in a folder of its own, as its user would."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SEARCH_R1"))}
    return subprocess.run(
        [str(installed.parent / arguments[0]), *arguments[1:]],
        cwd=folder, env=kept, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_wheel_holds_what_runs_and_nothing_that_measures_or_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"search_r1", "retriever", "data_prep", "eval", "processor", "contract"}
    for needed in (
        "search_r1/configs/quickstart.yaml",
        "search_r1/chat_templates/search_tags.jinja",
        "eval/published.json",
        "eval/view/static/index.html",
        "data_prep/knowledge/",
    ):
        assert any(name.startswith(needed) for name in names), needed


@pytest.mark.parametrize("command", ["search-r1-demo", "search-r1-train", "search-r1-retriever"])
def test_its_commands_start(installed, tmp_path, command):
    arguments = [] if command == "search-r1-demo" else ["--help"]
    ended = run(installed, tmp_path, command, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_artifacts_and_runs_lie_where_its_user_works_for_all_of_it(installed, tmp_path):
    code = (
        "import search_r1, data_prep.quickstart, search_r1.demo, search_r1.launch.stages\n"
        "from search_r1.runs import places\n"
        "assert data_prep.quickstart.artifacts_dir is places.artifacts_dir\n"
        "assert search_r1.demo.artifacts_dir is places.artifacts_dir\n"
        "assert search_r1.launch.stages.artifacts_dir is places.artifacts_dir\n"
        "print(search_r1.__file__, places.artifacts_dir(), places.runs_dir(), sep='\\n')"
    )
    ended = run(installed, tmp_path, "python", "-c", code)
    assert ended.returncode == 0, ended.stderr
    package, artifacts, runs = ended.stdout.splitlines()
    assert ROOT not in Path(package).parents
    assert (artifacts, runs) == (str(tmp_path / "artifacts"), str(tmp_path / "runs"))
