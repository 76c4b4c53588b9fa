"""No key of an online engine gets into a message, an answer or the log."""

import json
import logging
import socket
import threading
import traceback

import pytest
import yaml

from retriever.errors import OnlineConfigError, RetrievalError
from retriever.indexes.online.config import OnlineConfig, read_online_config
from retriever.indexes.online.engine import OnlineRetriever, open_online
from retriever.indexes.online.redaction import redact

KEY = 'k3y/with+"signs"=='


def write(tmp_path, **settings):
    path = tmp_path / "engine.yaml"
    path.write_text(yaml.safe_dump({"preset": "brave"} | settings))
    return path


@pytest.mark.parametrize(
    "value", ["a-secret-key\n", "a-secret\rkey", "a-secret-kéy", " a-secret-key"]
)
def test_a_header_that_cannot_be_sent_is_refused_without_showing_it(tmp_path, monkeypatch, value):
    monkeypatch.setenv("A_KEY", value)
    path = write(tmp_path, headers={"X-Subscription-Token": "${A_KEY}"})
    with pytest.raises(OnlineConfigError, match=r"headers\.X-Subscription-Token has '") as caught:
        read_online_config(path)
    assert "secret" not in str(caught.value)
    assert f"of {len(value)}; expected printable ASCII" in str(caught.value)


def test_a_header_name_that_cannot_be_sent_is_refused(tmp_path):
    with pytest.raises(OnlineConfigError, match="headers has the name 'X Key'; expected letters"):
        read_online_config(write(tmp_path, headers={"X Key": "v"}))


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"X-Key": 123456789}},
        {"headers": "123456789"},
        {"parameters": "123456789"},
        {"url": "file://user:123456789@host/?key=123456789"},
    ],
)
def test_a_wrong_description_is_named_without_its_secrets(tmp_path, settings):
    with pytest.raises(OnlineConfigError) as caught:
        read_online_config(write(tmp_path, **settings))
    assert "123456789" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path):
    path = tmp_path / "engine.yaml"
    path.write_text("preset: brave\nheaders: {X-Key: 's3cret-key}\n")
    with pytest.raises(OnlineConfigError, match=r"is no YAML: .* at line 3") as caught:
        read_online_config(path)
    assert "s3cret" not in str(caught.value)


def test_what_was_read_from_the_environment_cannot_be_written_in_the_file(tmp_path):
    with pytest.raises(OnlineConfigError, match="unknown key 'secrets'"):
        read_online_config(write(tmp_path, secrets=["x"]))


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        json.dumps(KEY),
        repr(KEY),
        "k3y%2Fwith%2B%22signs%22%3D%3D",
        f"{KEY}{KEY}",
        "k3y%2Fwith%2B%22signs%22%3D%3D&and " + KEY,
    ],
)
def test_a_secret_is_taken_out_in_every_form(shown):
    assert "k3y" not in redact(f"invalid key {shown} given", [KEY])


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it():
    assert redact("abcdef abc", ["abc", "abcdef", ""]) == "[secret] [secret]"


@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        ({"headers": {"Authorization": "Bearer ${A_KEY}"}}, KEY),
        ({"headers": {"Authorization": "Bearer literal-key"}}, "literal-key"),
        ({"headers": {"X-Auth": "token=${A_KEY}"}}, KEY),
        ({"parameters": {"api_key": "${A_KEY}"}}, KEY),
        ({"parameters": {"api_key": "literal-key"}}, "literal-key"),
    ],
)
# The last begins so that a cut at the end of what is shown would leave its first half.
@pytest.mark.parametrize("before", ["bad key ", "x" * 190])
def test_an_engine_that_quotes_the_key_does_not_make_us_tell_it(
    tmp_path, monkeypatch, caplog, serving, settings, secret, before
):
    caplog.set_level(logging.DEBUG, logger="retriever")
    monkeypatch.setenv("A_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        body = (before + secret + " and more").encode()
        head = f"HTTP/1.1 503 Busy\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head.encode() + body)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/search?key=in-the-url"
        retriever = open_online(write(tmp_path, url=url, max_attempts=1, **settings))
        with serving(retriever) as client:
            reply = client.post("/retrieve", json={"queries": ["a"]})
        retriever.close()
    assert reply.status_code == 503
    assert "/search answered with status 503" in reply.json()["error"]
    for told in (reply.text, caplog.text):
        assert secret[:6] not in told
        assert "in-the-url" not in told


def test_an_engine_that_cannot_be_asked_does_not_make_us_tell_the_key(monkeypatch):
    # httpx quotes a header that it refuses; one of a config made in Python is refused before.
    fields = {"id": "id", "title": "title", "text": "text"}
    with pytest.raises(OnlineConfigError) as caught:
        OnlineConfig("http://127.0.0.1:1", "results", fields, headers={"X": "s3cret-key\n"})
    assert "s3cret" not in str(caught.value)
    config = OnlineConfig("http://user:s3cret-key@127.0.0.1:1/a", "results", fields, max_attempts=1)
    with pytest.raises(RetrievalError, match=r"http://127\.0\.0\.1:1/a cannot be") as failed:
        OnlineRetriever(config).search(["a"], 1)
    assert "s3cret" not in str(failed.value)
    assert failed.value.__cause__ is None
