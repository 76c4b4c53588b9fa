"""The viewer's API: runs, their lists, and one trajectory at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, Field

from eval.view.collection import Collection, Shelf
from eval.view.listing import Wish, choose, facets, plain, related
from eval.view.places import find_tokenizer
from eval.view.tokens import open_tokenizer
from eval.web.pages import make_app


class _Request(BaseModel):
    """The list that a page asks for."""

    run: str
    words: str = ""
    verdict: Literal["", "right", "wrong", "none", "lost"] = ""
    searched: Literal["", "yes", "no"] = ""
    source: str = ""
    step: int | None = None
    sort: str = "file"
    descending: bool = False
    versus: str = ""
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=0, le=500)


class _Viewer:
    """Answers for the collections of a shelf."""

    def __init__(self, shelf: Shelf, tokenizer: Path | None) -> None:
        self._shelf = shelf
        self._tokenizer = tokenizer

    def runs(self) -> list[dict[str, Any]]:
        """Describe every run that can be chosen, as far as it was read."""
        return [
            {
                "name": one.name,
                "folder": str(one.place.folder),
                "number": len(one.entries),
                "is_reading": one.is_reading,
                "notes": one.notes,
                **facets(one),
            }
            for one in self._shelf
        ]

    def listing(self, wanted: Annotated[_Request, Query()]) -> dict[str, Any]:
        """List a part of what is wanted, with how many there are."""
        one = self._named(wanted.run)
        versus = self._named(wanted.versus) if wanted.versus else None
        names = ("words", "verdict", "searched", "source", "step", "sort")
        same = {name: getattr(wanted, name) for name in names}
        entries = choose(one.entries, Wish(**same, is_descending=wanted.descending, versus=versus))
        part = entries[wanted.offset : wanted.offset + wanted.limit]
        return {
            "total": len(entries),
            "right": sum(entry.verdict == "right" for entry in entries),
            "lost": sum(entry.verdict == "lost" for entry in entries),
            "rows": [plain(entry, versus) for entry in part],
        }

    def trajectory(self, run: str, uid: str) -> Response:
        """Give a whole trajectory, the texts of its tokens, and what else there is of it."""
        one = self._named(run)
        entry = one.entry_of(uid)
        if entry is None:
            still = " yet; the file is still being read" if one.is_reading else ""
            raise HTTPException(404, f"{run} holds no trajectory {uid!r}{still}.")
        try:
            record = one.read(entry)
        except (OSError, ValueError) as error:
            raise HTTPException(409, f"{error} Open it again.") from error
        content = {
            "run": run,
            "record": record,
            "summary": plain(entry, None),
            "related": related(self._shelf, entry, one),
            **self._tokens(one, record),
        }
        # ASCII, so that half of a surrogate pair in a model's text arrives as it is.
        return Response(json.dumps(content), media_type="application/json")

    def _tokens(self, one: Collection, record: dict[str, Any]) -> dict[str, Any]:
        path, missing = (self._tokenizer, "") if self._tokenizer else find_tokenizer(one.place)
        if path is None:
            return {"tokens": None, "prompt": None, "missing": missing}
        try:
            texts = open_tokenizer(path)
            return {
                "tokens": texts.split(record["response_ids"]),
                "prompt": texts.decode(record["prompt_ids"]),
            }
        except (ValueError, OverflowError, TypeError, KeyError) as error:
            return {"tokens": None, "prompt": None, "missing": f"{path} does not fit: {error}"}

    def _named(self, name: str) -> Collection:
        if name not in self._shelf.collections:
            raise HTTPException(404, f"no run is called {name!r}; choose one from the list.")
        return self._shelf.collections[name]


def make_viewer(shelf: Shelf, tokenizer: Path | None = None) -> FastAPI:
    """Make the app over some collections.

    Args:
        shelf: The collections; started and stopped by the caller.
        tokenizer: A ``tokenizer.json`` for all of them, whatever their models are.
    """
    app = make_app(Path(__file__).with_name("static"))
    viewer = _Viewer(shelf, tokenizer)
    app.get("/api/runs")(viewer.runs)
    app.get("/api/list")(viewer.listing)
    app.get("/api/trajectory", response_model=None)(viewer.trajectory)
    return app
