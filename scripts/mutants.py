"""Break the core's code one small place at a time and see whether its tests notice.

`make mutants` runs this for every module of COVERED and writes docs/mutants.json and
docs/mutants.md; `make mutants MODULES=search_r1/turns.py` renews one module's part. The changes are
mutmut's. Its own runner is not used: it leaves every decorated function out, and so the whole of
the advantage. Here each mutant is a fork of one process that has imported torch and the like.
"""

import argparse
import gc
import importlib
import importlib.abc
import importlib.util
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mutant_report import Result, render

if TYPE_CHECKING:  # it needs mutmut, which only `make mutants` brings
    from mutant_sites import Mutant

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "mutants.json"
PAGE = ROOT / "docs" / "mutants.md"
OURS = {"search_r1", "retriever", "data_prep", "eval", "processor", "contract"}
OURS |= {"benchmarks", "tests", "scripts"}

PARTS = ("records", "scoring", "budgets", "masks", "opening", "tools")
LOOP = [f"tests/search_r1/test_loop_{part}.py" for part in PARTS]
LOOP += ["tests/search_r1/test_loop.py"]
# The tests of each module, those first that find most.
COVERED = {
    "search_r1/loop.py": LOOP,
    "search_r1/turns.py": [f"tests/search_r1/test_{name}.py" for name in ("turn_reader", "turns")],
    "search_r1/observations.py": ["tests/search_r1/test_observations.py", *LOOP],
    "search_r1/types.py": ["tests/search_r1/test_types.py", "tests/search_r1/rewards"],
    "search_r1/answers.py": ["tests/search_r1/test_answers.py"],
    "search_r1/rewards/__init__.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/behaviour.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/format.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/outcome.py": ["tests/search_r1/rewards"],
    "search_r1/client/client.py": ["tests/search_r1/client"],
    "search_r1/verl_plugin/advantage.py": ["tests/search_r1/verl_plugin/test_grpo_masked.py"],
    "retriever/serving/batcher.py": ["tests/retriever/serving/test_batcher.py"],
    "retriever/storage/build_folder.py": [
        "tests/retriever/storage/test_build_folder.py",
        "tests/retriever/test_overwrite.py",
    ],
}
PYTEST = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis"]
PYTEST += ["-k", "not smollm2 and not llama3 and not mistral"]  # one real tokenizer will do
PYTEST += ["--timeout", "120"]  # a test that waits for ever; one that computes for ever, see below
HANG_S = 3600  # what ends nothing but a mutant that no other limit ends
NOT_VIABLE = 77  # exit status of a mutant that cannot be imported
FORKS = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Patch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source than its file's, to this process only."""

    name: str
    path: Path
    source: str

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the one module."""
        if name != self.name:
            return None
        is_package = self.path.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name,
            self.path,
            loader=self,
            submodule_search_locations=[str(self.path.parent)] if is_package else None,
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run the other source."""
        exec(compile(self.source, self.path, "exec"), module.__dict__)


class EndAtOnce:
    """Ends the process with the first test that fails, without any teardown."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Look at one test's outcome."""
        if report.failed:
            os._exit(1)


def run_tests(patch: Patch, tests: Sequence[str], cpu_s: int, loaded: Path | None = None) -> None:
    """Run tests against a module's source, in a process of their own; never returns.

    Args:
        patch: The module and its source.
        tests: Files of tests, or folders.
        cpu_s: Seconds of processor time after which the kernel ends it.
        loaded: File for the names of all modules that the tests loaded.
    """
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    sys.meta_path.insert(0, patch)
    try:
        importlib.import_module(patch.name)
    except BaseException:  # noqa: BLE001
        os._exit(NOT_VIABLE)
    import pytest

    for path in tests:  # one after the other: most mutants end in the first
        slow = ["-m", ""] if "verl_plugin" in path else []  # slow only because they import verl
        if status := pytest.main([*PYTEST, *slow, path], [EndAtOnce()]):
            os._exit(status)
    if loaded is not None:
        loaded.write_text("\n".join(n for n in sys.modules if n.partition(".")[0] not in OURS))
    os._exit(0)


def run(*arguments: Any) -> int:
    """Run ``run_tests`` in a fork, and end all that it started; gives its exit status."""
    process = FORKS.Process(target=run_tests, args=arguments)
    process.start()
    process.join(HANG_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    return process.exitcode or 0


def prepare(original: Patch, tests: Sequence[str]) -> int:
    """Run the tests on the code as it is, and import whatever they do that is not ours.

    Returns:
        Seconds of processor time that a mutant may take: some times more than without it.
    """
    with tempfile.TemporaryDirectory() as folder:
        loaded = Path(folder) / "loaded"
        if run(original, tests, HANG_S, loaded) != 0:
            raise SystemExit(f"mutants: {' '.join(tests)} fail without any mutant; mend them first")
        names = loaded.read_text().splitlines()
    for name in names:
        with suppress(Exception):  # some can only be imported by another
            importlib.import_module(name)
    gc.freeze()  # forks then share what was imported, and do not search it for garbage
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 5 + 3 * round(used.ru_utime + used.ru_stime)


def try_mutants(path: Path, name: str, tests: Sequence[str]) -> Iterator[tuple["Mutant", str]]:
    """Yield every mutant of a module with what became of it, a number of Result's."""
    from mutant_sites import find_mutants

    source = path.read_text(encoding="utf-8")
    cpu_s = prepare(Patch(name, path, source), tests)
    fates = {0: "survived", NOT_VIABLE: "not_viable"}
    fates |= dict.fromkeys((-signal.SIGXCPU, -signal.SIGKILL), "timeout")
    for mutant in find_mutants(source):
        status = run(Patch(name, path, mutant.source), tests, cpu_s)
        yield mutant, fates.get(status, "killed")


def measure(module: str, sender: Connection) -> None:
    """Try a module's mutants and send the Result."""
    path = ROOT / module
    name = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    counts = Counter(dict.fromkeys(("killed", "timeout", "survived", "not_viable"), 0))
    survivors = []
    for mutant, fate in try_mutants(path, name, COVERED[module]):
        counts[fate] += 1
        if fate in ("survived", "timeout"):
            print(f"{module}:{mutant.line} {fate}: {mutant.change}", flush=True)
        if fate == "survived":
            survivors.append({"line": mutant.line, "change": mutant.change})
        if counts.total() % 50 == 0:
            print(f"{module}: {counts.total()} tried", flush=True)
    sender.send({**counts, "survivors": survivors})


def renew(module: str, results: Mapping[str, Result]) -> dict[str, Result]:
    """Measure a module, in a process that has imported nothing of another's tests."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=measure, args=(module, sender))
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
    except EOFError:
        raise SystemExit(f"mutants: {module} was not measured; see above") from None
    process.join()
    before = results[module]["survivors"] if module in results else []
    reasons = {one["change"]: one["reason"] for one in before}
    for one in result["survivors"]:
        one["reason"] = reasons.get(one["change"], "")
    known = {**results, module: result}
    return {name: known[name] for name in COVERED if name in known}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the modules named, or all, and write both documents after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="files of COVERED; all when none is named")
    named = parser.parse_args(argv).modules
    if unknown := [module for module in named if module not in COVERED]:
        parser.error(f"{unknown[0]!r} is not covered; choose from {', '.join(COVERED)}")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for module in named or COVERED:
        results = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        results = renew(module, results)
        RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        PAGE.write_text(render(results), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
