"""Run Search-R1's ``retrieval_server.py`` from a checkout, on the CPU and on a port of ours.

``python -m benchmarks.retriever.peer CHECKOUT PORT ARGUMENTS...``. Its code runs as it is. Three
things around it differ: what is moved to a GPU stays where it is, the port and address are ours,
and its model stays in float32, because its float16 is slower on a CPU (``--half`` leaves that,
too).
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path("search_r1") / "search" / "retrieval_server.py"


def main() -> None:
    """Stay on the CPU, replace the port, and run the script as its user would."""
    checkout, port, *arguments = sys.argv[1:]
    script = Path(checkout) / SCRIPT
    if not script.is_file():
        sys.exit(f"error: no {SCRIPT} in {checkout}; give a checkout of Search-R1 with --peer.")
    is_half = "--half" in arguments
    _stay_on_cpu(is_half)
    _serve_at(int(port))
    sys.argv = [str(script), *(each for each in arguments if each != "--half")]
    runpy.run_path(str(script), run_name="__main__")


def _stay_on_cpu(is_half: bool) -> None:
    import torch

    def unmoved(self: Any, *_arguments: Any, **_named: Any) -> Any:
        return self

    torch.Tensor.cuda = unmoved
    torch.nn.Module.cuda = unmoved
    if not is_half:
        torch.nn.Module.half = unmoved


def _serve_at(port: int) -> None:
    import uvicorn

    run = uvicorn.run

    def run_here(app: Any, **_named: Any) -> None:
        run(app, host="127.0.0.1", port=port)

    uvicorn.run = run_here


if __name__ == "__main__":
    main()
