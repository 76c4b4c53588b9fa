"""How results are written back; none can bring a marker of the format with it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

RESPONSE_OPEN, RESPONSE_CLOSE = "<tool_response>", "</tool_response>"
HEADER_OPEN, HEADER_CLOSE = "<|start_header_id|>", "<|end_header_id|>"
LLAMA_MARKERS = ("<|",)  # every special token of Llama begins with it


def defuse(text: str, markers: Iterable[str]) -> str:
    """Put a space into every marker that a text holds: ``< /tool_response>``.

    ``chat_templates/defuse.jinja`` does the same to what a served model reads, step by step.
    """
    for marker in in_order(markers):
        text = text.replace(marker, f"{marker[0]} {marker[1:]}")
    return text


def in_order(markers: Iterable[str]) -> tuple[str, ...]:
    """Put markers in the order in which they are broken up, the longest first."""
    return _in_order(frozenset(markers))


@functools.lru_cache
def _in_order(markers: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, markers), key=lambda marker: (-len(marker), marker)))


def write_tool_responses(texts: Sequence[str]) -> str:
    """Write texts between ``<tool_response>`` tags, one below the other."""
    return "\n" + "".join(f"{RESPONSE_OPEN}\n{text}\n{RESPONSE_CLOSE}\n" for text in texts)


def write_header_turns(texts: Sequence[str]) -> str:
    """Write texts as Llama 3's template does: turns of ``ipython``, then the model's opened."""
    turns = (f"{HEADER_OPEN}ipython{HEADER_CLOSE}\n\n{text}<|eot_id|>" for text in texts)
    return "".join(turns) + f"{HEADER_OPEN}assistant{HEADER_CLOSE}\n\n"
