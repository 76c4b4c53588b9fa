"""The server against its own OpenAPI description, with requests that schemathesis makes up."""

import subprocess
import sys

import pytest

from retriever.serving.limits import Limits

# Small enough that no body in the described bounds is over a limit that cannot be described.
LIMITS = Limits(max_queries=16, max_query_chars=300)


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_is_not_described(serving, bm25, tmp_path):
    with serving(bm25, LIMITS) as client:
        url = f"{client.base_url}/openapi.json"
        # A made-up timeout of a nanosecond is rightly answered 504.
        expected = 'not_a_server_error.expected-statuses = ["2xx", "4xx", 504]'
        (tmp_path / "schemathesis.toml").write_text(f"[checks]\n{expected}\n")
        command = [sys.executable, "-m", "schemathesis.cli", "run", url, "--seed=1"]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_status_has_a_description_and_an_example(server):
    paths = server.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/retrieve", "/health", "/ready", "/info", "/metrics"}
    retrieve = paths["/retrieve"]["post"]
    assert set(retrieve["responses"]) == {"200", "400", "413", "422", "500", "503", "504"}
    for response in retrieve["responses"].values():
        (content,) = response["content"].values()
        assert response["description"]
        assert "example" in content or "examples" in content
    assert "examples" in retrieve["requestBody"]["content"]["application/json"]
