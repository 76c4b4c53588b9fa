"""A model served by real vLLM: the conversation of docs/serving.md, word for word."""

import json
import re
import signal
from pathlib import Path

import pytest

from retriever.build import build_index
from search_r1.launch.retriever import retriever_command, wait_ready
from search_r1.observations import number_passages
from search_r1.parsers import get_tool_parser
from search_r1.processes.environment import base_environment
from search_r1.processes.service import HOST, Service
from search_r1.prompts import build_prompt
from search_r1.types import Passage
from tests.running import serve_chained_model

pytestmark = [pytest.mark.slow, pytest.mark.engine]

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "Who wrote the novel Dracula?"
REQUEST = "Say who wrote Dracula."  # what tests/tiny_model.py answers without a search


@pytest.fixture(scope="module")
def retriever_url(tmp_path_factory, tiny_passages):
    folder = tmp_path_factory.mktemp("retriever")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(passage) + "\n" for passage in tiny_passages))
    build_index(corpus, folder / "index", "bm25")
    command = retriever_command(str(folder / "index"), 0)
    log = folder / "log"
    with Service("retrieval server", command, log, base_environment(), ROOT) as server:
        yield f"http://{HOST}:{wait_ready(server, 0, 60)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve a model that searches on a question, then answers; gives URL and process."""
    with serve_chained_model(tmp_path_factory.mktemp("serve"), max_num_seqs=4) as served:
        yield served


@pytest.fixture(scope="module")
def page(server, retriever_url):
    """Run the Python blocks of the page, with these servers' addresses; gives what they define."""
    serving = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", serving, re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks)
    assert "http://127.0.0.1:8001" in code
    assert "http://127.0.0.1:8000" in code
    code = code.replace("http://127.0.0.1:8001", server[0])
    code = code.replace("http://127.0.0.1:8000", retriever_url)
    namespace = {}
    exec(compile(code, "docs/serving.md", "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def conversation(page):
    """One in which the model searched and then answered."""
    return page["converse"](QUESTION)


def test_the_model_searches_reads_and_answers(conversation):
    assert [message["role"] for message in conversation] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    call = conversation[1]["tool_calls"][0]
    assert call["type"] == "function"
    assert call["id"]
    assert call["function"]["name"] == "search"
    assert json.loads(call["function"]["arguments"]) == {"query": "Dracula novel"}
    assert "<search>" not in (conversation[1].get("content") or "")
    assert conversation[2]["tool_call_id"] == call["id"]
    assert conversation[2]["content"].startswith("Doc 1(Title: ")
    assert conversation[3]["content"] == "<answer> Stoker</answer>", "it stops as in its rollouts"


def test_the_model_reads_the_text_of_its_rollouts(page, conversation):
    calls = [message for message in conversation if message.get("tool_calls")]
    last = conversation.index(calls[0]) + 1
    completion = page["client"].chat.completions.create(
        model=page["model"],
        messages=conversation[: last + 1],
        tools=[page["SEARCH"]],
        max_tokens=1,
        extra_body={"return_prompt_text": True},
    )
    query = json.loads(calls[0]["tool_calls"][0]["function"]["arguments"])["query"]
    trained = (
        build_prompt("two_shot", QUESTION)[0]["content"]
        + (calls[0].get("content") or "")
        + f"<search>{query}</search>"
        + get_tool_parser("search_tags")().format_results([conversation[last]["content"]])
    )
    assert completion.model_extra["prompt_text"] == trained


def test_passages_are_written_as_in_rollouts(page, tiny_passages):
    written = page["search"]("Dracula")
    by_title = {
        row["title"]: Passage(row["id"], row["title"], row["text"]) for row in tiny_passages
    }
    titles = re.findall(r"^Doc \d+\(Title: (.*?)\) ", written, re.MULTILINE)
    assert written == number_passages([by_title[title] for title in titles])


@pytest.mark.parametrize(("question", "is_called"), [(QUESTION, True), (REQUEST, False)])
def test_streaming_says_the_same(page, question, is_called):
    whole = page["client"].chat.completions.create(
        model=page["model"],
        messages=[{"role": "user", "content": question}],
        tools=[page["SEARCH"]],
        max_tokens=100,
    )
    content, calls, reason = page["stream"](question)
    message = whole.choices[0].message
    assert content == (message.content or "")
    assert [(call["name"], call["arguments"]) for call in calls] == [
        (call.function.name, call.function.arguments) for call in message.tool_calls or []
    ]
    assert all(call["id"] for call in calls)
    assert reason == whole.choices[0].finish_reason
    assert (reason == "tool_calls") == bool(calls) == is_called


def test_calls_can_be_forbidden_and_foreign_tools_are_refused(page):
    from openai import BadRequestError

    question = [{"role": "user", "content": QUESTION}]
    create = page["client"].chat.completions.create
    completion = create(
        model=page["model"],
        messages=question,
        tools=[page["SEARCH"]],
        tool_choice="none",
        max_tokens=20,
    )
    assert not completion.choices[0].message.tool_calls
    assert completion.choices[0].message.content
    calc = {"type": "function", "function": {"name": "calc"}}
    with pytest.raises(BadRequestError, match="calc was offered"):
        create(model=page["model"], messages=question, tools=[calc], max_tokens=1)


def test_ctrl_c_stops_everything(server):
    _, process = server
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
