"""What holds for the repository as a whole: imports, paths, README, project metadata."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("processor", "contract")
PACKAGES = (*SHARED, "retriever", "search_r1", "data_prep", "eval")
NOT_SHIPPED = ("benchmarks",)
HEAVY = ("torch", "transformers", "verl", "vllm", "ray")
TEXT_SUFFIXES = {
    ".py",
    ".sh",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".lock",
    ".json",
    ".svg",
    ".cfg",
    "",
}
HOME_PATH = re.compile(r"/(?:root|Users|home/[a-z]\w*|work)/\w")


def committed_files() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in result.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in output.stdout.split()}


def core() -> list[str]:
    """List the modules that pyproject.toml's contract "core" is about."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (found,) = (c for c in tools["importlinter"]["contracts"] if c["id"] == "core")
    assert set(found["forbidden_modules"]) == set(HEAVY)
    modules: list[str] = found["source_modules"]
    return modules


def test_the_core_pulls_no_engine() -> None:
    """The lint reads imports; this sees what really gets loaded, plugins and all."""
    assert loaded_by(f"import {', '.join(core())}") & set(HEAVY) == set()


def test_the_launcher_lives_as_long_as_the_run_and_stays_small() -> None:
    heavy = {*HEAVY, "httpx", "hydra", "matplotlib", "numpy", "pyarrow"}
    assert loaded_by("import search_r1.launch.run") & heavy == set()


def test_the_contract_of_the_core_is_about_what_contributing_promises() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    promise = re.search(r"The core \((.*?)\)", text, re.DOTALL)
    assert promise is not None
    named = {name.rstrip("/") for name in re.findall(r"`([a-z_]+/?)`", promise[1])}
    assert {f"search_r1.{name}" for name in named} == set(core())


def imported_roots(path: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def importers(folder: str, wanted: str) -> list[str]:
    paths = (ROOT / folder).rglob("*.py")
    return sorted(str(p.relative_to(ROOT)) for p in paths if wanted in imported_roots(p))


def test_only_the_plugin_imports_verl() -> None:
    found = [p for folder in PACKAGES for p in importers(folder, "verl")]
    allowed = ("search_r1/verl_plugin/", "search_r1/parsers/engines/verl_adapter.py")
    assert [p for p in found if not p.startswith(allowed)] == []


def test_retriever_and_search_r1_meet_over_http_only() -> None:
    assert importers("retriever", "search_r1") == []
    assert importers("search_r1", "retriever") == []


@pytest.mark.parametrize("above", ["data_prep", "eval", "benchmarks"])
def test_what_trains_and_serves_knows_nothing_of_what_stands_above(above: str) -> None:
    assert [
        p for folder in (*SHARED, "retriever", "search_r1") for p in importers(folder, above)
    ] == []


def test_questions_are_made_without_the_evaluation() -> None:
    assert importers("data_prep", "eval") == []


@pytest.mark.parametrize("package", SHARED)
def test_what_is_shared_is_asked_by_all_and_asks_nobody(package: str) -> None:
    """Trainer and retriever share it, so it must not bring one to the other, nor an engine."""
    roots = set().union(*(imported_roots(path) for path in (ROOT / package).rglob("*.py")))
    assert roots <= set(sys.stdlib_module_names)
    assert loaded_by(f"import {package}") & {*HEAVY, "search_r1", "retriever"} == set()


def test_every_package_is_in_the_wheel_and_type_checked() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    wheel = tools["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in wheel} == set(PACKAGES)
    assert set(tools["mypy"]["packages"]) == {*PACKAGES, *NOT_SHIPPED}
    assert set(tools["importlinter"]["root_packages"]) == {*PACKAGES, *NOT_SHIPPED}
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == {*PACKAGES, *NOT_SHIPPED}


@pytest.mark.parametrize("package", ["search_r1", "retriever", "benchmarks"])
def test_the_tests_lie_as_what_they_test_does(package: str) -> None:
    rooms = {path.parent for path in (ROOT / "tests" / package).rglob("test_*.py")}
    missing = [room for room in rooms if not (ROOT / room.relative_to(ROOT / "tests")).is_dir()]
    assert missing == []


def test_evaluation_is_imported_by_submodule_only() -> None:
    """``import eval`` would hide Python's own function of that name."""
    for path in committed_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    assert "eval" not in [alias.asname or alias.name for alias in node.names], path


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = []
    for path in committed_files():
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__).resolve():
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in HOME_PATH.finditer(text)]
    assert found == []


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / name for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md")]
    for page in [*pages, *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for words in re.findall(r"(?:^|`)make ([a-z-]+(?: [a-z-]+)*)", text, re.MULTILINE):
            assert set(words.split()) <= targets, f"{page.name}: make {words}"


def test_every_makefile_target_is_listed_by_help() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    output = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\S+)", output.stdout, re.MULTILINE)) == set(phony[1].split())


def test_modules_and_scripts_named_in_the_readme_exist() -> None:
    for module in re.findall(r"python -m ([a-z_0-9.]+)", readme()):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for script in set(re.findall(r"(?:\./|\b)((?:scripts/)?[a-z_]+\.sh)\b", readme())):
        assert os.access(ROOT / script, os.X_OK), f"{script} is missing or cannot be run"


def test_links_in_the_docs_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_installed_project_offers_its_commands_and_its_verl_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = importlib.metadata.distribution("search-r1").entry_points
    plugins = {p.name: p.value for p in points if p.group == "verl.plugins"}
    assert plugins == {"search_r1": "search_r1.verl_plugin"}
    scripts = {p.name: p.value for p in points if p.group == "console_scripts"}
    assert scripts == project["scripts"]
    for point in points:
        module = ROOT / point.value.partition(":")[0].replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__init__.py").exists(), point.value


def test_presets_are_shipped_with_the_package() -> None:
    names = {path.stem for path in (ROOT / "search_r1" / "configs").rglob("*.yaml")}
    wanted = {"quickstart", "grpo_3b_8gpu", "ppo_7b_8gpu", "grpo_lora_1gpu", "multinode"}
    assert wanted - names == set()
