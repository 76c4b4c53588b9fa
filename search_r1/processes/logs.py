"""Find in a training log the lines that say why it failed."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"^(\x1b\[\d+m)*\(([\w.:]+ )?pid=\d+[^)]*\)(\x1b\[\d+m)*\s?")
_EXCEPTION = re.compile(r"^\s*[\w.]*(Error|Exception|Interrupt|Failure)(\([\w.]+\))?: \S")
_MAX_ERRORS = 3
_MAX_CHARS = 500


def last_errors(log: str) -> str:
    """Give the last distinct exceptions of a log, oldest first; without any, its last lines.

    Args:
        log: Text of the log; Ray's prefixes (which process wrote the line) are taken off.
    """
    lines = [_PREFIX.sub("", line).rstrip() for line in log.splitlines()]
    errors: list[str] = []
    for line in reversed(lines):
        text = line.strip()
        if _EXCEPTION.match(line) and text not in errors:
            errors.append(text)
        if len(errors) == _MAX_ERRORS:
            break
    chosen = errors[::-1] or [line for line in lines if line.strip()][-10:] or ["(it is empty)"]
    return "\n".join(f"    {line[:_MAX_CHARS]}" for line in chosen)
