"""The chat on a terminal."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TextIO

from eval.chat.session import CHAT_METHODS, Event, Question, Session

# What moves the cursor, is not seen, or turns the text around it; a terminal obeys the first.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_FOLDED = 600  # characters of what a turn was given
_HELP = "/model NAME, /method NAME, /sampled, /greedy; Ctrl-D leaves."


def visible(text: str) -> str:
    """Write control and invisible characters as their numbers, so that a terminal does not act."""
    return _UNSEEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


class Terminal:
    """Reads questions and commands, and writes events as they come.

    Args:
        session: Answers.
        out: Where to write.
        has_color: Whether it shows colours.
    """

    def __init__(self, session: Session, out: TextIO, has_color: bool) -> None:
        self._session = session
        self._out = out
        self._has_color = has_color
        self._model, self._method, self._decoding = session.models[0], "search", "greedy"

    async def run(self, source: TextIO) -> None:
        """Answer line after line until there is no more."""
        lines = _read_lines(source)
        self._write(f"{self._model}, {self._method}. {_HELP}\n", "2")
        while True:
            self._write("\n> ", "1")
            line = await lines.get()
            if line is None:
                return self._write("\n")
            if line.startswith("/"):
                self._write(self._obey(line) + "\n", "2")
            elif line.strip():
                await self._ask(line.strip())

    def _obey(self, line: str) -> str:
        command, _, value = line.strip().partition(" ")
        if command in ("/sampled", "/greedy"):
            self._decoding = command[1:]
        elif command == "/model" and value in self._session.models:
            self._model = value
        elif command == "/method" and value in CHAT_METHODS:
            self._method = value
        elif command in ("/model", "/method"):
            known = self._session.models if command == "/model" else CHAT_METHODS
            return f"no {command[1:]} {value!r}; choose from {', '.join(known)}."
        else:
            return _HELP
        return f"{self._model}, {self._method}, {self._decoding}"

    async def _ask(self, text: str) -> None:
        question = Question(text, self._model, self._method, self._decoding)
        async for event in self._session.ask(question):
            self._show(event)

    def _show(self, event: Event) -> None:
        if event["type"] == "text":
            self._write(visible(event["text"]))
        elif event["type"] == "turn":
            given = visible(event["record"]["observation_text"].strip())
            rest = len(given) - _FOLDED
            cut = f" ... ({rest} characters more)" if rest > 0 else ""
            self._write(f"\n{given[:_FOLDED]}{cut}\n" if given else "\n", "2")
        elif event["type"] == "loading":
            self._write(f"loading {event['model']} ...\n", "2")
        elif event["type"] == "error":
            self._write(f"error: {visible(event['message'])}\n")
        else:
            answer = visible(event["prediction"] or f"no answer ({event['stop_reason']})")
            self._write(answer, "1")
            problem = f", {visible(event['problem'])}" if event["problem"] else ""
            facts = f"searches: {event['searches']}, tokens: {event['tokens']}"
            self._write(f"  {facts}, {event['seconds']:.1f} s{problem}\n", "2")

    def _write(self, text: str, style: str = "") -> None:
        styled = f"\033[{style}m{text}\033[0m" if style and self._has_color else text
        self._out.write(styled)
        self._out.flush()


def _read_lines(source: TextIO) -> asyncio.Queue[str | None]:
    """Read lines in a thread that nobody waits for: Ctrl-C must not need another Enter."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in source:
            loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="lines", daemon=True).start()
    return lines
