"""Let a quickstart run's models answer real questions: ``python -m eval.demo`` (make eval-demo).

Takes the newest run of ``./train.sh quickstart`` and has its base, its cold-started and its trained
model answer the sets that need no hub, each directly, over what the question finds, and by
searching itself. The answers and a report go to ``results/eval-demo/RUN``. Run again, it goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_prep.steps import DataPrepError, run_command, say
from eval.of_run import run_evaluation, served_index
from eval.report import main as report
from search_r1.runs import layout
from search_r1.runs.places import runs_dir

_METHODS = ("direct:greedy", "rag:greedy", "search:greedy")
_SETS = "offline"
_NUMBER = 100  # of each set: minutes on two cores
_FIRST = "run ./train.sh quickstart first, or name a finished run with --run"


@dataclass(frozen=True, slots=True)
class Demo:
    """What is going to be asked of whom."""

    run_dir: Path
    config: Mapping[str, Any]
    answerers: list[dict[str, Any]]
    """A plan of ``eval.run``."""

    @property
    def index(self) -> str:
        """Folder of the index that the run searched."""
        index: str = self.config["search_r1"]["retriever"]["index"]
        return index


def newest_run(folder: Path) -> Path:
    """Give the newest run of a preset that compared its models.

    Args:
        folder: Holds the runs of one preset.

    Raises:
        DataPrepError: If there is none.
    """
    for run_dir in layout.finished_runs(folder):
        if (run_dir / "eval" / "plan.json").is_file():
            return run_dir
    raise DataPrepError(f"{folder} holds no finished run that compared its models; {_FIRST}.")


def plan_demo(run_dir: Path) -> Demo:
    """Read from a run whom to ask, and check that everything is still there.

    Raises:
        DataPrepError: If something is not.
    """
    try:
        config = yaml.safe_load((run_dir / layout.CONFIG).read_text(encoding="utf-8"))
        plan = json.loads((run_dir / "eval" / "plan.json").read_text(encoding="utf-8"))
        answerers = [
            {"name": one["name"], "model": one["model"], "prompt": one.get("prompt"),
             "methods": list(_METHODS)}
            for one in plan
        ]  # fmt: skip
        demo = Demo(run_dir, config, answerers)
        places = [demo.index, *(one["model"] for one in answerers)]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise DataPrepError(
            f"{run_dir} is no run that compared its models ({error!r}); {_FIRST}."
        ) from error
    gone = [place for place in places if not Path(place).is_dir()]
    if gone:
        raise DataPrepError(f"{run_dir} needs {gone[0]}, which is not there any more; {_FIRST}.")
    return demo


def run_demo(demo: Demo, out: Path, number: int) -> None:
    """Serve the run's index, ask every model, report.

    Raises:
        DataPrepError: If a part fails; it has said why.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = out / "plan.json"
    plan.write_text(json.dumps(demo.answerers, indent=2) + "\n", encoding="utf-8")
    with served_index(demo.config, out / "retriever.log") as url:
        say(f"{demo.index} is served on {url}")
        options = ["--config", str(demo.run_dir / layout.CONFIG), "--plan", str(plan), "--examples"]
        options += ["--benchmarks", _SETS, "--number", str(number)]
        run_evaluation(demo.config, [*options, "--retriever", url, "--out", str(out)])
    if report([str(out), "--out", str(out / "report")]):
        raise DataPrepError("the report failed; the reason is above.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--run", type=Path, help="folder of a run (default: the newest of the quickstart)")
    add("--number", type=int, default=_NUMBER, help="questions of each set (default: %(default)s)")
    add("--out", type=Path, default=Path("results") / "eval-demo",
        help="folder for results (default: %(default)s)")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be asked, and stop")
    parsed = parser.parse_args(arguments)

    def run() -> None:
        run_dir = parsed.run or newest_run(runs_dir() / "quickstart")
        demo = plan_demo(run_dir.absolute())
        out = parsed.out.absolute() / demo.run_dir.name
        say(f"models of {demo.run_dir}:")
        for one in demo.answerers:
            say(f"  {one['name']}: {one['model']}, {', '.join(one['methods'])}")
        say(f"{parsed.number} questions of each of the {_SETS} sets; results go to {out}")
        if not parsed.dry_run:
            run_demo(demo, out, parsed.number)

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
