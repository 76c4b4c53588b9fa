"""The chat as a person sees it, in a real Chromium."""

import pytest

from eval.chat.app import make_chat
from search_r1.types import Passage
from tests.browser import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'


@pytest.fixture
def chat(page, session):
    with served() as serve:
        page.open(serve(make_chat(session)))
        page.wait_for("document.querySelectorAll('[name=method] option').length > 3")
        yield page


def ask(page, question):
    page.js("document.getElementById('question').focus()")
    page.type(question)
    page.press("Enter")


def test_an_answer_streams_with_its_passages_beside_it(chat, gate):
    gate["is_shut"] = True
    ask(chat, "who is number 1?")
    chat.wait_for("!!document.querySelector('.part.open')")
    assert chat.js("!document.getElementById('stop').hidden")
    gate["is_shut"] = False
    chat.wait_text("Bram Stoker", ".verdict .answer")
    assert chat.text(".part.search .body") == "Dracula"
    assert chat.text(".read .passage .title") == "Dracula"
    left, right = (
        chat.js(f"document.querySelector('{place}').getBoundingClientRect().left")
        for place in (".part.search", ".read .passage")
    )
    assert right > left + 200
    assert "1 search" in chat.text(".verdict")


def test_a_method_is_chosen_and_a_model_that_cannot_be_loaded_is_said(chat):
    chat.choose("[name=method]", "search_never")
    chat.wait_text("made to answer at once", "#hint")
    ask(chat, "who wrote Dracula?")
    chat.wait_text("0 searches", ".verdict")
    chat.choose("[name=model]", "broken")
    ask(chat, "why?")
    chat.wait_text("broken has another shape", ".exchange:last-child .notice")


def test_an_answer_can_be_stopped(chat, gate):
    gate["is_shut"] = True
    ask(chat, "who wrote Dracula?")
    chat.wait_for("!!document.querySelector('.part.open')")
    chat.press("Escape")
    chat.wait_text("Stopped.", ".exchange")
    gate["is_shut"] = False
    ask(chat, "who wrote Dracula?")
    chat.wait_text("Bram Stoker", ".verdict .answer")


def test_hostile_text_stays_text_on_a_narrow_dark_screen(chat, searcher, monkeypatch):
    async def search(queries, top_k):
        return [[Passage("1", HOSTILE, f"{HOSTILE}\u202e")] for _ in queries]

    monkeypatch.setattr(searcher, "search", search)
    chat.resize(400, 800)
    chat.prefer("dark")
    ask(chat, f"who is {HOSTILE}?")
    chat.wait_text("Bram Stoker", ".verdict .answer")
    assert HOSTILE in chat.text(".exchange h1")
    assert chat.text(".read .passage .title") == HOSTILE
    assert chat.text(".read .control") == "U+202E"
    assert chat.js("window.hit") is None
    assert chat.js("document.documentElement.scrollWidth <= innerWidth")
    assert chat.js("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 23)"
