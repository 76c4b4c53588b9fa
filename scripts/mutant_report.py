"""The page about mutants, written from their result."""

from collections.abc import Mapping
from typing import TypedDict

INTRO = """\
# Mutants

How much do the tests of the core notice? `make mutants` changes its code in one small place at a
time (a `<` becomes `<=`, an argument None, a loop sees its first item only) and runs the module's
tests, which should fail. Which tests are a module's is said in
[scripts/mutants.py](../scripts/mutants.py): fast ones, and for the plugin those that are slow only
because they import verl. The changes are mutmut's and a few more
([scripts/mutant_sites.py](../scripts/mutant_sites.py)). Left out are types, decorators, imports,
log lines and how errors are worded. A mutant that cannot be imported does not count; one that never
ends counts as noticed.

The command writes this page and [mutants.json](mutants.json). All modules take an hour or two;
`make mutants MODULES=search_r1/turns.py` renews one, `JOBS=4` tries four mutants at a time. A
survivor keeps the reason that mutants.json gives for it as long as its lines stay the same; a new
one has none, and a test asks for it.
Modules of the list that have no row were not measured yet.
"""


class Survivor(TypedDict):
    """A mutant that no test noticed, with the reason why it may live."""

    line: int
    change: str
    reason: str


class Result(TypedDict):
    """What became of a module's mutants."""

    killed: int
    timeout: int
    survived: int
    not_viable: int
    survivors: list[Survivor]


def render(results: Mapping[str, Result]) -> str:
    """Write the page: a table of modules, then the survivors with their reasons."""
    rows = [_row(f"`{module}`", [result]) for module, result in results.items()]
    table = [
        "| module | mutants | failed | never ended | survived | noticed |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    lines = [INTRO, *table, *rows, _row("all", list(results.values())), "", "## Survivors"]
    for module, result in results.items():
        if result["survivors"]:
            lines += ["", f"### {module}"]
        for reason in dict.fromkeys(one["reason"] for one in result["survivors"]):
            lines += ["", f"{reason or '(no reason given)'}", "```"]
            lines += [
                f"{one['line']}: {one['change']}"
                for one in result["survivors"]
                if one["reason"] == reason
            ]
            lines.append("```")
    return "\n".join(lines) + "\n"


def share_noticed(results: list[Result]) -> float:
    """Give the share of viable mutants that a test noticed."""
    noticed = sum(result["killed"] + result["timeout"] for result in results)
    return noticed / max(1, noticed + sum(result["survived"] for result in results))


def _row(name: str, results: list[Result]) -> str:
    killed, ended, lives = (
        sum(one[key] for one in results) for key in ("killed", "timeout", "survived")
    )
    share = f"{share_noticed(results):.1%}"
    return f"| {name} | {killed + ended + lives} | {killed} | {ended} | {lives} | {share} |"
