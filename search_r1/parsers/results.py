"""How results are written back; none can bring a marker of the format with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

RESPONSE_OPEN, RESPONSE_CLOSE = "<tool_response>", "</tool_response>"
HEADER_OPEN, HEADER_CLOSE = "<|start_header_id|>", "<|end_header_id|>"
LLAMA_MARKERS = ("<|",)  # every special token of Llama begins with it


def defuse(text: str, markers: Iterable[str]) -> str:
    """Put a space into every marker that a text holds: ``< /tool_response>``."""
    return break_up(text, any_of(markers))


def break_up(text: str, markers: re.Pattern[str]) -> str:
    """Put a space into every match, behind its first character."""
    return markers.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def any_of(markers: Iterable[str]) -> re.Pattern[str]:
    """Match any of some strings, the longest that fits; none without any."""
    return _any_of(tuple(sorted(filter(None, markers), key=len, reverse=True)))


@functools.lru_cache
def _any_of(markers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, markers)) or r"(?!)")


def write_tool_responses(texts: Sequence[str]) -> str:
    """Write texts between ``<tool_response>`` tags, one below the other."""
    return "\n" + "".join(f"{RESPONSE_OPEN}\n{text}\n{RESPONSE_CLOSE}\n" for text in texts)


def write_header_turns(texts: Sequence[str]) -> str:
    """Write texts as Llama 3's template does: turns of ``ipython``, then the model's opened."""
    turns = (f"{HEADER_OPEN}ipython{HEADER_CLOSE}\n\n{text}<|eot_id|>" for text in texts)
    return "".join(turns) + f"{HEADER_OPEN}assistant{HEADER_CLOSE}\n\n"
