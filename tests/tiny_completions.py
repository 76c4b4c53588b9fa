"""A server of OpenAI's completions API over real HTTP, whose model is a function of the prompt."""

import asyncio
import contextlib

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.running import serve_app


class Model:
    """Completes prompts; keeps the requests it got, and can be told to fail.

    Args:
        complete: Gives the whole text that follows a prompt, stop strings not minded.
        says_why: Tell which stop string ended a text, as vLLM does.
        key: Refuse those who do not show it.
    """

    name = "tiny"

    def __init__(self, complete, says_why=True, key=None):
        self.complete, self.says_why, self.key = complete, says_why, key
        self.requests, self.failures = [], []

    def app(self):
        app = FastAPI()

        @app.middleware("http")
        async def check(request: Request, call_next):
            shown = request.headers.get("Authorization")
            if self.key and shown != f"Bearer {self.key}":
                return JSONResponse({"error": {"message": "wrong key"}}, 401)
            return await call_next(request)

        @app.get("/v1/models")
        async def models():
            return {"data": [{"id": self.name}]}

        @app.post("/v1/completions")
        async def completions(request: Request):
            body = await request.json()
            self.requests.append(body)
            if self.failures:
                return JSONResponse({"error": {"message": "not now"}}, self.failures.pop(0))
            return await asyncio.to_thread(self.answer, body)  # one that waits holds up no other

        return app

    def answer(self, body):
        text = self.complete(body["prompt"])
        at = {stop: text.find(stop) for stop in body["stop"] if stop in text}
        stop = min(at, key=at.get, default=None)
        choice = {"index": 0, "text": text[: at[stop]] if stop else text, "finish_reason": "stop"}
        words = choice["text"].split(" ")
        if len(words) > body["max_tokens"]:
            choice |= {"text": " ".join(words[: body["max_tokens"]]), "finish_reason": "length"}
            stop = None
        if self.says_why:
            choice["stop_reason"] = stop
        usage = {"prompt_tokens": len(body["prompt"].split(" ")), "completion_tokens": len(words)}
        return {"choices": [choice], "usage": usage}


@contextlib.contextmanager
def serve_model(model, port=0):
    """Serve a model on a port, any free one for 0; gives the address up to and with /v1."""
    with serve_app(model.app(), port) as url:
        yield f"{url}/v1"
