"""The process a function runs in: calls come in as JSON lines on stdin, results go out on stdout.

Started by :mod:`search_r1.tools.python.process` as
``python -m search_r1.tools.python.worker FILE FUNCTION SETTINGS``. It is not a sandbox: it keeps
a function that hangs, crashes or holds Python's lock from doing so in the process that trains.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.python.file import bind, load_function, to_result
from search_r1.tools.python.signatures import FunctionArguments


def main() -> None:
    """Load the function, say so, then answer calls until stdin ends."""
    file, name, settings = sys.argv[1:]
    rules = json.loads(settings)
    replies = _take_stdout()
    function = load_function(file, name)
    arguments_of = FunctionArguments(function) if rules["is_converted"] else None
    _write(replies, {"is_ready": True})
    for line in sys.stdin:
        # Ends this process even if the one that would have killed it is gone by then.
        signal.setitimer(signal.ITIMER_REAL, rules["lifetime_s"])
        reply = _answer(function, arguments_of, json.loads(line), rules["max_chars"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(replies, reply)


def _answer(
    function: Callable[..., Any],
    arguments_of: FunctionArguments | None,
    arguments: dict[str, Any],
    max_chars: int,
) -> dict[str, Any]:
    try:
        result = to_result(function(**bind(arguments_of, arguments)))
    except ToolError as error:
        return {"error": str(error)}
    except ToolFailedError as error:
        return {"failure": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code may raise anything
        return {"failure": f"{type(error).__name__}: {error}"}
    # One character more than is shown, so that the other side sees that there was more.
    text = result.text[: max_chars + 1]
    passages = result.passages
    return {"text": text, "passages": None if passages is None else [asdict(p) for p in passages]}


def _write(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _take_stdout() -> TextIO:
    """Keep stdout for replies; what the function prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main()
