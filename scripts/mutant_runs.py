"""Run tests against other source than a module's file has: each time in a process of its own."""

import ast
import gc
import importlib
import importlib.abc
import importlib.util
import itertools
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mutant_places import Place, changed_functions, functions_of, put

OURS = {"search_r1", "retriever", "data_prep", "eval", "processor", "contract"}
OURS |= {"benchmarks", "tests", "scripts"}
PYTEST = [
    "-q",
    "--tb=no",
    "--disable-warnings",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:schemathesis",
]
PYTEST += ["-k", "not smollm2 and not llama3 and not mistral"]  # one real tokenizer will do
WAIT_S = 120  # for a test that waits for ever; one that computes for ever has its limit below
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


def begin(cpu_s: int) -> None:
    """Make a fork's own session, silence, and limit of processor time."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)


def options_for(path: str, timeout_s: int = WAIT_S) -> list[str]:
    """Give pytest's options; tests of the plugin are slow only because they import verl."""
    slow = ["-m", ""] if "verl_plugin" in path else []
    return [*PYTEST, "--timeout", str(timeout_s), *slow]


def run_tests(patch: Patch, tests: Sequence[str], cpu_s: int, loaded: Path | None = None) -> None:
    """Run tests against a module's source, in a process of their own; never returns.

    Args:
        patch: The module and its source.
        tests: Files of tests, or folders.
        cpu_s: Seconds of processor time after which the kernel ends it.
        loaded: File for the names of all modules that the tests loaded.
    """
    begin(cpu_s)
    sys.meta_path.insert(0, patch)
    try:
        importlib.import_module(patch.name)
    except BaseException:  # noqa: BLE001
        os._exit(NOT_VIABLE)
    import pytest

    for path in tests:  # one after the other: most mutants end in the first
        timeout_s = WAIT_S if loaded is None else HANG_S  # the first run imports
        if status := pytest.main([*options_for(path, timeout_s), path], [EndAtOnce()]):
            os._exit(status)
    if loaded is not None:
        loaded.write_text("\n".join(sys.modules))
    os._exit(0)


def run(target: Callable[..., None], *arguments: Any) -> int:
    """Run a function in a fork, and end all that it started; gives its exit status."""
    return next(run_all(target, {0: arguments}, 1))[1]


def run_all(
    target: Callable[..., None], calls: Mapping[int, tuple[Any, ...]], jobs: int
) -> Iterator[tuple[int, int]]:
    """Run a function in a fork per call, some at a time; yields each call's number and status."""
    numbers = iter(calls)
    running: dict[Any, tuple[int, Any]] = {}  # by what tells that it has ended
    while True:
        for number in itertools.islice(numbers, jobs - len(running)):
            process = FORKS.Process(target=target, args=calls[number])
            process.start()
            running[process.sentinel] = (number, process)
        if not running:
            return
        for sentinel in wait(list(running), HANG_S) or list(running):
            number, process = running.pop(sentinel)
            with suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
            yield number, process.exitcode or 0


def import_all(names: Sequence[str], is_ours: bool) -> None:
    """Import what the tests do, ours or all else; forks then share it."""
    for name in names:
        if (name.partition(".")[0] in OURS) == is_ours and not name.startswith(
            ("tests", "scripts")
        ):
            with suppress(Exception):  # some can only be imported by another
                importlib.import_module(name)


def limit_s() -> int:
    """Give the seconds of processor time that a mutant may take: more than the children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 2 + 3 * math.ceil(used.ru_utime + used.ru_stime)


def imports_of(source: str) -> list[str]:
    """List the modules that a source imports."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return [node.module for node in found if node.module]


def prepare(original: Patch, tests: Sequence[str]) -> tuple[int, list[str]]:
    """Run the tests on the code as it is.

    Returns:
        Seconds of processor time that a mutant may take, some times more than without it; the names
        of all modules that were loaded.
    """
    import_all(imports_of(original.source), is_ours=False)  # here too, where it is slow
    with tempfile.TemporaryDirectory() as folder:
        loaded = Path(folder) / "loaded"
        if run(run_tests, original, tests, HANG_S, loaded) != 0:
            raise SystemExit(f"mutants: {' '.join(tests)} fail without any mutant; mend them first")
        names = loaded.read_text().splitlines()
    return limit_s(), names


@dataclass
class ForkPerMutant:
    """In the place of pytest's loop over the tests: one fork for each mutant, with that loop."""

    path: Path
    changes: Mapping[int, Mapping[Place, CodeType]]
    jobs: int
    sender: Connection

    def pytest_runtestloop(self, session: Any) -> bool:
        """Send the number and exit status of every mutant."""
        functions = functions_of(self.path)
        gc.freeze()  # forks then do not search for garbage what they share

        def loop(changed: Mapping[Place, CodeType], cpu_s: int) -> None:
            begin(cpu_s)
            put(functions, changed)
            for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            os._exit(0)

        if run(loop, {}, HANG_S) == 0:
            here = {n: new for n, new in self.changes.items() if new.keys() <= functions.keys()}
            calls = {number: (new, limit_s()) for number, new in here.items()}
            for result in run_all(loop, calls, self.jobs):
                self.sender.send(result)
        return True


def try_in_place(
    original: Patch,
    sources: Sequence[str],
    tests: Sequence[str],
    names: Sequence[str],
    jobs: int,
) -> dict[int, int]:
    """Try the mutants that change functions only; gives the exit status of those noticed."""
    old = compile(original.source, original.path, "exec")
    new = [changed_functions(old, compile(one, original.path, "exec")) for one in sources]
    changes = {number: changed for number, changed in enumerate(new) if changed}
    receiver, sender = FORKS.Pipe(duplex=False)

    def collect() -> None:
        import pytest

        import_all(names, is_ours=True)
        plugins = [ForkPerMutant(original.path, changes, jobs, sender), EndAtOnce()]
        os._exit(pytest.main([*options_for(tests[0]), "-s", *tests], plugins))

    process = FORKS.Process(target=collect)
    process.start()
    sender.close()
    statuses = {}
    with suppress(EOFError):
        while True:
            number, status = receiver.recv()
            statuses[number] = status
            if len(statuses) % 50 == 0:
                print(f"{original.name}: {len(statuses)} of {len(sources)} tried", flush=True)
    process.join()
    return {number: status for number, status in statuses.items() if status}
