"""No secret of a tool is shown, to the model or to people."""

import json
from urllib.parse import quote

import pytest


async def test_secrets_are_sent_and_never_shown(api, http_tool, run_one, monkeypatch):
    monkeypatch.setenv("API_KEY", "s3cret{city}")
    tool = http_tool(headers={"Authorization": "Bearer ${API_KEY}"}, attempts=1)
    api.script = [
        (200, "fine", {}),
        (400, "bad key s3cret{city}", {}),
        (500, "s3cret{city} broke", {}),
    ]
    outcomes = [await run_one(tool, {"city": "Rome"}) for _ in range(3)]
    assert api.seen[0]["headers"]["authorization"] == "Bearer s3cret{city}"
    assert outcomes[1].text == "weather answered with status 400: bad key ***"
    assert "'*** broke'" in outcomes[2].detail
    monkeypatch.delenv("API_KEY")
    with pytest.raises(ValueError, match="Authorization needs the environment"):
        http_tool(headers={"Authorization": "Bearer ${API_KEY}"})
    monkeypatch.setenv("API_KEY", "two\nlines")
    with pytest.raises(ValueError, match="the header Authorization") as refused:
        http_tool(headers={"Authorization": "Bearer ${API_KEY}"})
    assert "two" not in str(refused.value)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("start", [0, 292, 295, 300])
async def test_a_secret_where_a_message_is_cut_is_not_half_shown(
    api, http_tool, run_one, monkeypatch, status, start
):
    monkeypatch.setenv("API_KEY", "s3cret-key")
    tool = http_tool(headers={"Authorization": "Bearer ${API_KEY}"}, attempts=1)
    api.script = [(status, "x" * start + "s3cret-key", {})]
    outcome = await run_one(tool, {"city": "Rome"})
    assert "s3c" not in outcome.text + outcome.detail


@pytest.mark.parametrize("secret", ["s3cret-key", 'a"b\\c/d+e', "100%&\u00e9"])
@pytest.mark.parametrize(
    "result_path", [None, "headers.authorization", "headers", "path", "body.k"]
)
async def test_a_reply_that_echoes_the_request_shows_no_secret(
    api, http_tool, run_one, monkeypatch, secret, result_path
):
    monkeypatch.setenv("API_KEY", secret)
    headers = {"Authorization": "Bearer ${API_KEY}"} if secret.isascii() else {}
    tool = http_tool(
        method="POST",
        query={"key": "${API_KEY}"},
        headers={"Authorization": "none"} | headers,
        body={"k": "${API_KEY}"},
        result_path=result_path,
    )
    outcome = await run_one(tool, {"city": "Rome"})
    assert api.seen[0]["body"] == {"k": secret}
    assert outcome.status == "ok"
    spellings = [secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")]
    assert not [spelling for spelling in spellings if spelling in outcome.text]
    assert outcome.text


async def test_a_secret_inside_another_leaves_nothing_of_it(api, http_tool, run_one, monkeypatch):
    monkeypatch.setenv("SHORT", "abcd")
    monkeypatch.setenv("LONG", "abcdefgh")
    api.script = [(200, "abcdefgh abcd", {})]
    tool = http_tool(headers={"X-A": "${SHORT}", "X-B": "${LONG}"})
    assert (await run_one(tool, {"city": "Rome"})).text == "*** ***"


async def test_a_value_too_short_for_a_secret_is_left_in_results(
    api, http_tool, run_one, monkeypatch
):
    monkeypatch.setenv("DAYS", "7")
    api.script = [(200, "77 of 7 days", {})]
    tool = http_tool(query={"days": "${DAYS}"})
    assert (await run_one(tool, {"city": "Rome"})).text == "77 of 7 days"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X-Key": "${KEY}"}, "the header X-Key"),
        ({"X-Key": "${KEY}{city}"}, "the header X-Key"),
        ({"X Key": "1"}, "the header 'X Key'"),
        ({"": "1"}, "the header ''"),
        ({"X-Key": "caf\u00e9"}, "the header X-Key"),
    ],
)
@pytest.mark.parametrize("secret", [" s3cret", "s3cret\n", "s3\tcret", "s3cr\u00e9t"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(
    http_tool, monkeypatch, headers, message, secret
):
    monkeypatch.setenv("KEY", secret)
    with pytest.raises(ValueError, match=message) as refused:
        http_tool(headers=headers)
    assert "s3" not in str(refused.value)
