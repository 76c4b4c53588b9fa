"""The command line of ``train.sh``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from search_r1.configs.presets import DEFAULT, list_presets, require_preset
from search_r1.errors import LaunchError, UsageError
from search_r1.launch.progress.screen import say

_EPILOG = """\
examples:
  ./train.sh                                          the quickstart, on two CPU cores
  ./train.sh quickstart trainer.total_training_steps=30
  ./train.sh quickstart trainer.resume_mode=auto      go on with the newest unfinished run
  ./train.sh grpo_3b_8gpu --dry-run                   show the config of a preset and check it

Everything goes to runs/PRESET/TIMESTAMP. docs/training.md tells more.
"""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it raises, as the original exits
        raise UsageError(f"{message}; see ./train.sh --help")


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = _Parser(
        prog="train.sh",
        description="Train a preset: prepare what it needs, serve passages, train, sum up.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", nargs="?", default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of the preset: KEY=VALUE ...")
    parser.add_argument("--list", action="store_true", help="list the presets and exit")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the whole config and check it; start nothing"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code, 2 for a wrong command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _main(arguments)
    except LaunchError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _main(arguments: Sequence[str]) -> None:
    options = make_parser().parse_intermixed_args(arguments)
    if options.list:
        presets = list_presets()
        width = max(map(len, presets))
        say("\n".join(f"{name:<{width}}  {text}" for name, text in presets.items()))
        return
    preset, overrides = options.preset, options.overrides
    if "=" in preset:  # ./train.sh KEY=VALUE means the default preset
        preset, overrides = DEFAULT, [preset, *overrides]
    require_preset(preset)
    if options.dry_run:
        _dry_run(preset, overrides)
    else:
        from search_r1.launch.run import run

        run(preset, overrides, ["./train.sh", *arguments])


def _dry_run(preset: str, overrides: Sequence[str]) -> None:
    import yaml

    from search_r1.launch.checks import preflight
    from search_r1.launch.plan_request import request_plan

    plan = request_plan(preset, overrides)
    say(yaml.safe_dump(plan["config"], sort_keys=False, allow_unicode=True))
    sys.stderr.write(f"{preset}: the config passes our checks and verl's. Nothing was started.\n")
    for problem in preflight.problems(plan["config"]):
        sys.stderr.write(f"in the way on this machine: {problem}\n")
    for remark in preflight.remarks(plan["config"]):
        sys.stderr.write(f"{remark}\n")
