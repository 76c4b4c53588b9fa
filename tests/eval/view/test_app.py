"""The viewer's API over HTTP, and its command."""

import json
import socket

import httpx
import pytest

from eval.view.__main__ import main
from eval.web.pages import CONTENT_SECURITY_POLICY
from tests.eval.view.conftest import record_of, write_lines


def get(address, path, **parameters):
    return httpx.get(f"{address}{path}", params=parameters, trust_env=False, timeout=60)


def test_a_list_comes_in_parts_with_its_counts(view, results):
    address = view(results)
    answer = get(address, "api/list", run="two.search.greedy", limit=2, offset=1).json()
    assert (answer["total"], answer["right"], answer["lost"]) == (4, 1, 0)
    assert [entry["uid"] for entry in answer["rows"]] == ["facts/1", "facts/2"]
    versus = get(address, "api/list", run="two.search.greedy", versus="one.search.greedy").json()
    assert [entry["versus"] for entry in versus["rows"]] == ["right", "right"]


def test_runs_tell_what_can_be_chosen(view, results, run_dir):
    runs = get(view(results, run_dir), "api/runs").json()
    assert [(run["name"], run["number"], run["steps"]) for run in runs] == [
        ("one.search.greedy", 4, []),
        ("two.search.greedy", 4, []),
        ("2026-11-30 training", 16, [1, 2]),
    ]


def test_a_trajectory_comes_whole_with_what_is_missing_for_its_tokens(view, results):
    answer = get(view(results), "api/trajectory", run="one.search.greedy", uid="facts/0").json()
    assert answer["record"] == record_of("facts/0")
    assert answer["tokens"] is None
    assert "give --tokenizer DIR" in answer["missing"]


def test_tokens_are_decoded_where_there_is_a_tokenizer(view, results, tmp_path, bpe_tokenizer):
    bpe_tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    address = view(results, tokenizer=tmp_path / "tokenizer.json")
    answer = get(address, "api/trajectory", run="one.search.greedy", uid="facts/0").json()
    assert len(answer["tokens"]) == 4
    assert "".join(answer["tokens"]) == bpe_tokenizer.backend_tokenizer.decode([10, 11, 12, 13])


def test_ids_of_another_tokenizer_are_said_not_to_fit(view, tmp_path, bpe_tokenizer):
    bpe_tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    path = write_lines(tmp_path / "a.jsonl", [record_of("a", response_ids=[-1, 2, 3, 4])])
    address = view(path, tokenizer=tmp_path / "tokenizer.json")
    answer = get(address, "api/trajectory", run="a", uid="a").json()
    assert "does not fit" in answer["missing"]


@pytest.mark.parametrize(
    ("path", "wish", "words"),
    [
        ("api/list", {"run": "x"}, "no run is called 'x'"),
        ("api/trajectory", {"run": "one.search.greedy", "uid": "x"}, "holds no trajectory 'x'"),
    ],
)
def test_what_is_not_there_is_said(view, results, path, wish, words):
    answer = get(view(results), path, **wish)
    assert answer.status_code == 404
    assert words in answer.json()["detail"]


def test_pages_and_answers_keep_others_out(view, results):
    address = view(results)
    for path in ("", "api/runs", "static/view.js", "shared/dom.js"):
        answer = get(address, path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    other = httpx.get(address, headers={"Host": "evil.example"}, trust_env=False)
    assert other.status_code == 400
    assert get(address, "static/../app.py").status_code == 404
    assert get(address, "static/..%2fapp.py").status_code == 404


def test_the_command_says_what_it_misses(tmp_path, results, capsys):
    assert main([str(tmp_path / "absent")]) == 1
    assert f"error: there is nothing at {tmp_path / 'absent'}; expected" in capsys.readouterr().err
    assert main([str(results), "--tokenizer", str(tmp_path)]) == 1
    assert "--tokenizer: there is no" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([f"{results}#one.search.greedy/facts/0", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert error.count("\n") == 1


def test_lines_of_a_hostile_record_come_as_json_and_not_as_a_page(view, tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [record_of("a", question="</script><b>\ud800")])
    answer = get(view(path), "api/trajectory", run="a", uid="a")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content)["record"]["question"] == "</script><b>\ud800"
