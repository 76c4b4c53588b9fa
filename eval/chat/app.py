"""The chat's API: what can be asked, and a question with its answer as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from eval.chat.session import CHAT_METHODS, Event, Question, Session
from eval.web.pages import make_app

_MOST_CHARS = 4000  # of a question


class _Asked(BaseModel):
    question: str
    model: str
    method: str = "search"
    decoding: str = "greedy"


def make_chat(session: Session) -> FastAPI:
    """Make the app over a session."""
    app = make_app(Path(__file__).with_name("static"))

    @app.get("/api/models")
    def models() -> Any:
        methods = [{"name": one.name, "what": one.what} for one in CHAT_METHODS.values()]
        return {"models": session.models, "loaded": session.loaded, "methods": methods}

    @app.post("/api/ask", response_model=None)
    async def ask(asked: _Asked) -> StreamingResponse:
        question = _read(asked, session)
        return StreamingResponse(_write(session.ask(question)), media_type="text/event-stream")

    return app


async def _write(events: AsyncGenerator[Event, None]) -> AsyncIterator[str]:
    async with aclosing(events):
        async for event in events:
            yield f"data: {json.dumps(event)}\n\n"


def _read(asked: _Asked, session: Session) -> Question:
    text = asked.question.strip()
    if not text or len(text) > _MOST_CHARS:
        raise HTTPException(
            422, f"the question has {len(text)} characters; ask one of 1 to {_MOST_CHARS}."
        )
    for kind, name, known in (
        ("model", asked.model, session.models),
        ("method", asked.method, list(CHAT_METHODS)),
        ("decoding", asked.decoding, ["greedy", "sampled"]),
    ):
        if name not in known:
            raise HTTPException(422, f"no {kind} {name!r}; choose from {', '.join(known)}.")
    return Question(text, asked.model, asked.method, asked.decoding)
