"""The command that serves a model, up to where vLLM begins; see test_serve_live for the rest."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from search_r1.serve import PLUGIN, main

CHILD = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PARENT = """
import os, sys
from search_r1 import serve
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
try:
    sys.exit(serve._run(command, dict(os.environ), "M", "127.0.0.1", int(sys.argv[1])))
except serve.LaunchError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def model(bpe_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    bpe_tokenizer.save_pretrained(folder)
    return str(folder)


def printed_command(capsys, *arguments):
    assert main(["--dry-run", *arguments]) == 0
    words = shlex.split(capsys.readouterr().out)
    start = words.index(sys.executable)
    return dict(word.split("=", 1) for word in words[1:start]), words[start:]


def value_of(command, option):
    return command[command.index(option) + 1]


def test_the_command_names_parser_plugin_and_template(capsys, model):
    variables, command = printed_command(
        capsys, "--model", model, "--port", "0", "--", "--max-model-len", "99"
    )
    assert value_of(command, "--model") == model
    assert "--enable-auto-tool-choice" in command
    assert value_of(command, "--tool-call-parser") == "search_r1"
    assert Path(value_of(command, "--tool-parser-plugin")) == PLUGIN
    assert "search_tags.first" in value_of(command, "--chat-template")
    texts = json.loads(value_of(command, "--default-chat-template-kwargs"))["search_tags"]
    assert texts["first"].endswith("</answer>\n\nQuestion: ")
    assert value_of(command, "--host") == "127.0.0.1"
    assert int(value_of(command, "--port")) > 0
    assert value_of(command, "--max-model-len") == "99"
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert json.loads(variables["SEARCH_R1_SERVED_PARSER"])["name"] == "search_tags"


def test_a_prompt_of_several_messages_goes_along_with_the_models_template(capsys, model, tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}<|end|>{% endfor %}", encoding="utf-8")
    options = ["--parser", "hermes", "--prompt", "two_shot_hermes", "--chat-template", str(file)]
    _, command = printed_command(capsys, "--model", model, *options)
    assert value_of(command, "--chat-template").endswith(file.read_text(encoding="utf-8"))
    assert value_of(command, "--chat-template-content-format") == "string"
    variables = json.loads(value_of(command, "--default-chat-template-kwargs"))["chat_prompt"]
    assert variables["messages"][0]["role"] == "system"
    assert variables["messages"][-1]["content"] == variables["mark"]


def test_a_plugin_file_is_found_from_any_folder(capsys, model, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from search_r1.parsers import register_tool_parser\n"
        "from search_r1.parsers.formats.search_tags import SearchTagsParser\n"
        "@register_tool_parser('mine')\n"
        "class Mine(SearchTagsParser):\n"
        "    '''A parser of my own.'''\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    options = ["--parser", "mine", "--parser-plugin", "mine.py"]
    variables, command = printed_command(capsys, "--model", model, *options)
    assert value_of(command, "--tool-call-parser") == "search_r1_mine"
    plugin = json.loads(variables["SEARCH_R1_SERVED_PARSER"])["plugin"]
    assert plugin == str(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--parser", "hermess"], 2, "unknown tool parser 'hermess'"),
        (["--parser-options", "[1]"], 2, "not a JSON object"),
        (["--parser-options", "{"], 2, "not JSON"),
        (["--parser", "vllm:hermes", "--parser-options", '{"a": 1}'], 2, "no --parser-options"),
        (["--prompt", "three_shot"], 2, "invalid choice: 'three_shot' (choose from "),
        (["--parser", "hermes"], 1, "no chat template"),
        (["--chat-template", "none.jinja"], 2, "none.jinja cannot be read"),
        (["--port", "99999"], 1, "cannot listen on 127.0.0.1:99999"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(capsys, model, options, code, message):
    assert main(["--model", model, *options, "--dry-run"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")


def test_a_model_that_is_not_there_and_a_taken_port(capsys, model, tmp_path):
    assert main(["--model", str(tmp_path / "none"), "--dry-run"]) == 1
    assert "cannot be loaded" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--model", model, "--port", port, "--dry-run"]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def start(port, child=CHILD):
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(port), child],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_too(number):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with start(port) as parent:
        said = parent.stdout.readline()
        assert said.startswith(f"serving M at http://127.0.0.1:{port}/v1")
        assert "chat/completions" in parent.stdout.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.send_signal(number)
        assert parent.wait() == 128 + number
    assert len(children) == 1
    assert not os.path.exists(f"/proc/{children[0]}")


@pytest.mark.slow
def test_a_server_that_dies_is_an_error():
    with start(1, "raise SystemExit(7)") as parent:
        assert parent.wait() == 1
        assert "vLLM ended with exit code 7" in parent.stderr.read()
