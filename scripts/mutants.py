"""Break the core's code one small place at a time and see whether its tests notice.

`make mutants` runs this for every module of COVERED and writes docs/mutants.json and
docs/mutants.md; `make mutants MODULES=search_r1/turns.py` renews one module's part. The changes are
mutmut's. Its own runner is not used: it leaves every decorated function out, and so the whole of
the advantage. Here each mutant is a fork: of a process that has collected the tests, where it
changes functions only; else, and when no test noticed it there, of one that has imported torch and
the like but nothing of ours.
"""

import argparse
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from mutant_report import Result, render
from mutant_runs import (
    FORKS,
    NOT_VIABLE,
    Patch,
    import_all,
    prepare,
    run_all,
    run_tests,
    try_in_place,
)

if TYPE_CHECKING:  # it needs mutmut, which only `make mutants` brings
    from mutant_sites import Mutant

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "mutants.json"
PAGE = ROOT / "docs" / "mutants.md"

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
    "contract/answers.py": ["tests/contract/test_answers.py"],
    "search_r1/rewards/__init__.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/behaviour.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/format.py": ["tests/search_r1/rewards"],
    "search_r1/rewards/outcome.py": ["tests/search_r1/rewards"],
    "search_r1/client/client.py": ["tests/search_r1/client"],
    "search_r1/verl_plugin/advantage.py": ["tests/search_r1/verl_plugin/test_grpo_masked.py"],
    "search_r1/verl_plugin/agent_loop.py": ["tests/search_r1/verl_plugin/test_agent_loop.py"],
    "retriever/serving/batcher.py": ["tests/retriever/serving/test_batcher.py"],
    "retriever/storage/build_folder.py": [
        "tests/retriever/storage/test_build_folder.py",
        "tests/retriever/test_overwrite.py",
    ],
}


def try_mutants(
    path: Path, name: str, tests: Sequence[str], jobs: int
) -> Iterator[tuple["Mutant", str]]:
    """Yield every mutant of a module with what became of it, a number of Result's."""
    from mutant_sites import find_mutants

    original = Patch(name, path, path.read_text(encoding="utf-8"))
    mutants = list(find_mutants(original.source))
    cpu_s, names = prepare(original, tests)
    import_all(names, is_ours=False)
    gc.freeze()
    statuses = try_in_place(original, [one.source for one in mutants], tests, names, jobs)
    print(f"{name}: {len(statuses)} of {len(mutants)} noticed in place", flush=True)
    fates = {0: "survived", NOT_VIABLE: "not_viable"}
    fates |= dict.fromkeys((-signal.SIGXCPU, -signal.SIGKILL), "timeout")
    calls = {
        number: (Patch(name, path, mutant.source), tests, cpu_s)
        for number, mutant in enumerate(mutants)
        if number not in statuses
    }
    statuses |= dict(run_all(run_tests, calls, jobs))
    for number, mutant in enumerate(mutants):
        yield mutant, fates.get(statuses[number], "killed")


def measure(module: str, jobs: int, sender: Connection) -> None:
    """Try a module's mutants and send the Result."""
    path = ROOT / module
    name = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    counts = Counter(dict.fromkeys(("killed", "timeout", "survived", "not_viable"), 0))
    survivors = []
    for mutant, fate in try_mutants(path, name, COVERED[module], jobs):
        counts[fate] += 1
        if fate in ("survived", "timeout"):
            print(f"{module}:{mutant.line} {fate}: {mutant.change}", flush=True)
        if fate == "survived":
            survivors.append({"line": mutant.line, "change": mutant.change})
    sender.send({**counts, "survivors": survivors})


def measure_apart(module: str, jobs: int) -> Result:
    """Measure a module, in a process that has imported nothing of another's tests."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=measure, args=(module, jobs, sender))
    process.start()
    sender.close()
    try:
        result: Result = receiver.recv()
    except EOFError:
        raise SystemExit(f"mutants: {module} was not measured; see above") from None
    process.join()
    return result


def renew(results: Mapping[str, Result], module: str, result: Result) -> dict[str, Result]:
    """Put a module's result in its place, with the reasons that are known."""
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
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    arguments = parser.parse_args(argv)
    named = arguments.modules
    if unknown := [module for module in named if module not in COVERED]:
        parser.error(f"{unknown[0]!r} is not covered; choose from {', '.join(COVERED)}")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for module in named or COVERED:
        result = measure_apart(module, arguments.jobs)
        results = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        results = renew(results, module, result)
        RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        PAGE.write_text(render(results), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
