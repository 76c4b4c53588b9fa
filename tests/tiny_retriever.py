"""The real retrieval server over a handful of passages, in a thread, over real HTTP."""

import contextlib
import json
import socket
import threading
import time

import uvicorn

from retriever.build import build_index
from retriever.indexes.kinds import open_retriever
from retriever.serving.app import make_app


@contextlib.contextmanager
def serve_passages(folder, passages, token=None):
    """Index passages (dicts with id, title and text) by BM25 and serve them; gives the address.

    With a token, only to those who show it.
    """
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in passages), encoding="utf-8")
    build_index(corpus, folder / "index", "bm25")
    with (
        contextlib.closing(open_retriever(folder / "index")) as retriever,
        socket.socket() as listener,
    ):
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(make_app(retriever, token=token), log_level="critical")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            ends = time.monotonic() + 100
            while not server.started:
                assert time.monotonic() < ends, "waited too long"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
