"""The chat's API over HTTP, its terminal, and what its command refuses."""

import io
import json

import httpx
import pytest

from eval.chat.__main__ import main
from eval.chat.app import make_chat
from eval.chat.terminal import Terminal, visible
from tests.browser import served

ASKED = {"question": "who is number 1?", "model": "tiny"}


@pytest.fixture
def address(session):
    with served() as serve:
        yield serve(make_chat(session))


def post(address, **asked):
    return httpx.post(f"{address}api/ask", json=asked, trust_env=False, timeout=60)


def test_an_answer_comes_as_server_sent_events(address):
    answer = post(address, **ASKED)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-1]]
    assert events[-1]["prediction"] == "Bram Stoker"
    assert events[-2]["record"]["stop_reason"] == "stop"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "  "}, "the question has 0 characters"),
        ({"question": "x" * 5000}, "the question has 5000 characters"),
        ({"model": "gpt"}, "no model 'gpt'; choose from tiny, broken"),
        ({"method": "oracle"}, "no method 'oracle'; choose from search,"),
        ({"decoding": "beam"}, "no decoding 'beam'; choose from greedy, sampled"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(address, change, words):
    answer = post(address, **ASKED | change)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_form_of_another_page_cannot_ask(address):
    content = json.dumps(ASKED)
    headers = {"Content-Type": "text/plain"}
    answer = httpx.post(f"{address}api/ask", content=content, headers=headers, trust_env=False)
    assert answer.status_code == 422


async def test_the_terminal_streams_and_obeys(session):
    out = io.StringIO()
    lines = "\n/method oracle\n/method search_never\n/model x\n/huh\n/sampled\nwho wrote Dracula?\n"
    await Terminal(session, out, has_color=False).run(io.StringIO(lines))
    text = out.getvalue()
    assert "no method 'oracle'; choose from search," in text
    assert "no model 'x'; choose from tiny, broken." in text
    assert "tiny, search_never, sampled" in text
    assert "<answer>Bram Stoker</answer>\nBram Stoker  searches: 0" in text
    assert "\033" not in text


def test_a_terminal_is_never_sent_what_it_would_obey():
    assert visible("a\x1b[2J\rb\u202ec\ud800\ttab\nline") == (
        "a<U+001B>[2J<U+000D>b<U+202E>c<U+D800>\ttab\nline"
    )


def test_the_command_says_what_it_misses(tmp_path, capsys):
    assert main(["--model", "a", "--model", "a"]) == 1
    assert "--model a is given twice" in capsys.readouterr().err
    assert main(["--model", "a", "--prompt", "two_shots"]) == 1
    assert "unknown prompt 'two_shots'" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("5")
    assert main(["--model", "a", "--config", str(tmp_path / "config.yaml")]) == 1
    assert "config.yaml cannot be used" in capsys.readouterr().err
    nobody = ["--retriever", "http://127.0.0.1:9", "--port", "0"]
    assert main(["--model", str(tmp_path), *nobody]) == 1
    assert "no retrieval server answers at http://127.0.0.1:9" in capsys.readouterr().err
