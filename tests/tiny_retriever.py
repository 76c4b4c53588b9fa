"""The real retrieval server over a handful of passages, in a thread, over real HTTP."""

import contextlib
import json

from retriever.build import build_index
from retriever.indexes.kinds import open_retriever
from retriever.serving.app import make_app
from tests.running import serve_app


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
        serve_app(make_app(retriever, token=token)) as url,
    ):
        yield url
