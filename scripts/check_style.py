"""Fail on a Python or shell file over 300 lines, or a Python function over 50."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
SUFFIXES = (".py", ".sh")
SKIPPED_FOLDERS = {"artifacts", "build", "dist", "runs"}


def source_files(root: Path) -> list[Path]:
    """List the checked files under a folder: what git tracks or would, or all without git."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        paths = [root / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*") if not is_skipped(path.relative_to(root))]
    return sorted(path for path in paths if path.suffix in SUFFIXES and path.is_file())


def is_skipped(path: Path) -> bool:
    """Tell whether a path lies in a hidden folder or in one that commands fill."""
    return any(part.startswith(".") or part in SKIPPED_FOLDERS for part in path.parts)


def long_functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, first line and length of each function that is too long, docstring included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield node.name, node.lineno, length


def problems(path: Path) -> Iterator[str]:
    """Yield one line for each thing that is too long in a file."""
    source = path.read_text(encoding="utf-8")
    n_lines = len(source.splitlines())
    if n_lines > MAX_FILE_LINES:
        yield f"{path}: {n_lines} lines; split it, the most is {MAX_FILE_LINES}."
    if path.suffix == ".py":
        for name, line, length in long_functions(source):
            yield f"{path}:{line}: {name}() has {length} lines; the most is {MAX_FUNCTION_LINES}."


def main(argv: Sequence[str] | None = None) -> int:
    """Check the files given, or every source file of the repository; return the exit status."""
    named = sys.argv[1:] if argv is None else argv
    root = Path(__file__).resolve().parent.parent
    files = [Path(name) for name in named] or source_files(root)
    found = [line for path in files for line in problems(path)]
    print("\n".join([*found, f"{len(files)} files checked, {len(found)} too long."]))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
