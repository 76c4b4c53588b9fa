"""An application that only reads the request: ``python -m benchmarks.retriever.nothing PORT``."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    """The shape of a search."""

    queries: list[str]
    topk: int | None = None
    return_scores: bool = False


def make_app() -> FastAPI:
    """Make two endpoints with our request's shape: one on the event loop, one in a thread."""
    app = FastAPI()

    @app.post("/retrieve")
    async def on_the_loop(_body: Request) -> dict[str, list[int]]:
        return {"result": []}

    @app.post("/retrieve_in_thread")
    def in_a_thread(_body: Request) -> dict[str, list[int]]:
        return {"result": []}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
