"""The viewer as a person sees it, in a real Chromium."""

import json

import pytest

from tests.eval.view.conftest import record_of, turn_of, write_lines

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = "[...document.querySelectorAll('.row-item')]"
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script></div>&amp;'
BIDI = "safe\u202egnp.exe \u2066x\u2069 \u200bend\x1b[31m"


def questions(page):
    return page.js(f"{ROWS}.map(row => row.querySelector('.question').textContent)")


def columns(page):
    return page.js("[...document.querySelectorAll('.columns .trajectory')].map(n => n.dataset.uid)")


def wait_rows(page, number):
    page.wait_for(f"{ROWS}.length === {number}")


def has_no_sideways_scroll(page):
    return page.js("document.documentElement.scrollWidth <= innerWidth")


def test_the_list_is_searched_filtered_and_sorted(page, view, results):
    page.open(view(results))
    wait_rows(page, 4)
    page.wait_text("4 trajectories · 75.0% right")
    page.press("/")
    page.type("NUMBER")
    wait_rows(page, 2)
    page.choose("[name=verdict]", "wrong")
    wait_rows(page, 1)
    assert questions(page) == ["who is number 2?"]
    page.choose("[name=verdict]", "")
    page.choose("#words", "")
    page.choose("[name=sort]", "question")
    page.wait_for(f"{ROWS}[0].innerText.includes('Zürich')")
    page.choose("#run", "two.search.greedy")
    page.choose("[name=versus]", "one.search.greedy")
    wait_rows(page, 2)
    page.wait_text("there: right", "#list")


def test_a_trajectory_shows_thought_search_passage_and_answer_apart(page, view, results):
    page.open(view(results) + "#two.search.greedy/facts/0")
    page.wait_text("hm", ".part.think .body")
    assert page.text(".part.search .body") == "q"
    assert page.text(".part.passage .title") == "Dracula"
    assert "a novel by Bram Stoker" in page.text(".part.passage .body")
    assert "information" not in page.text(".part.passage .body")
    assert "Bram Stoker or Stoker" in page.text(".golds")
    assert page.js("document.querySelectorAll('.times .tool').length") == 1
    assert page.js("document.getElementById('run').value") == "two.search.greedy"


def test_keys_go_through_list_and_group_and_back(page, view, run_dir):
    page.open(view(run_dir))
    wait_rows(page, 16) if page.js("innerHeight > 1200") else page.wait_for(f"{ROWS}.length > 5")
    page.press("j")
    page.wait_for("location.hash.endsWith('/s1q1_0')")
    page.press("j", "j")
    page.wait_for("location.hash.endsWith('/s1q1_2')")
    page.press("k")
    page.wait_for("location.hash.endsWith('/s1q1_1')")
    page.wait_for("document.querySelector('.trajectory')?.dataset.uid === 's1q1_1'")
    page.press("ArrowRight")
    page.wait_for("document.querySelector('.trajectory')?.dataset.uid === 's1q1_2'")
    page.press("g")
    page.wait_for("document.querySelectorAll('.columns .trajectory').length === 4")
    assert columns(page) == [f"s1q1_{n}" for n in range(4)]
    page.press("ArrowLeft")
    page.wait_for("document.querySelector('.current')?.dataset.uid === 's1q1_1'")
    assert columns(page) == [f"s1q1_{n}" for n in range(4)]
    page.press("Escape")
    page.wait_for("!document.querySelector('.columns') && !!document.querySelector('.trajectory')")
    page.press("?")
    page.wait_for("document.getElementById('help').open")
    page.press("Escape")
    page.wait_for("!document.getElementById('help').open")
    page.press("Escape")
    page.wait_for("location.hash === ''")
    page.wait_text("Choose a trajectory")


@pytest.mark.parametrize("how", ["runs", "steps"])
def test_the_same_question_of_two_runs_or_steps_stands_side_by_side(
    page, view, results, run_dir, how
):
    if how == "runs":
        page.open(view(results) + "#one.search.greedy/facts/1")
        wanted = ["facts/1", "facts/1"]
    else:
        page.open(view(run_dir) + "#2026-11-30%20training/s2q1_0")
        wanted = ["s2q1_0", "s1q1_0"]
    page.wait_for("!!document.querySelector('.trajectory')")
    page.press("c")
    page.wait_for("document.querySelectorAll('.columns .trajectory').length === 2")
    assert columns(page) == wanted
    hash_ = page.js("location.hash")
    page.open(page.js("location.href"))  # a link to a comparison opens it again
    page.wait_for("document.querySelectorAll('.columns .trajectory').length === 2")
    assert page.js("location.hash") == hash_
    page.choose("#elsewhere", "")
    page.wait_for("!document.querySelector('.columns') && !!document.querySelector('.trajectory')")
    page.open(page.js("location.href").partition("#")[0] + "#%/%")
    page.wait_text("Choose a trajectory")


def test_what_models_and_passages_wrote_is_text_and_nothing_else(page, view, tmp_path):
    found = f"<information>Doc 1(Title: {HOSTILE}) {HOSTILE}{BIDI}</information>"
    record = record_of(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        gold_answers=[HOSTILE, BIDI],
        turns=[turn_of(f"<think>{HOSTILE}{BIDI}</think><search>{HOSTILE}</search>", found=found)],
        metadata={"data_source": HOSTILE, "retriever_error": HOSTILE},
        reward={"total": 0, HOSTILE: 1},
    )
    page.open(view(write_lines(tmp_path / "a.jsonl", [record])))
    page.wait_for(f"{ROWS}.length === 1")
    page.press("j")
    page.wait_for("!!document.querySelector('.part.passage')")
    assert HOSTILE in page.text(".part.think .body")
    assert page.text(".part.passage .title") == HOSTILE
    assert questions(page) == [HOSTILE]
    marks = page.js(
        "[...document.querySelectorAll('.part.think .control')].map(mark => mark.textContent)"
    )
    assert marks == ["U+202E", "U+2066", "U+2069", "U+200B", "U+001B"]
    assert page.js("window.hit") is None
    assert page.js("document.querySelectorAll('img, #detail script, .row-item script').length") == 0


def test_a_passage_of_a_megabyte_is_folded_until_it_is_wanted(page, view, tmp_path):
    long = "x" * 1_000_000
    found = f"<information>Doc 1(Title: T) {long}</information>"
    record = record_of("a", turns=[turn_of("<search>q</search>", found=found)])
    page.open(view(write_lines(tmp_path / "a.jsonl", [record])) + "#a/a")
    length = "document.querySelector('.part.passage .body').firstChild.nextSibling.length"
    page.wait_text("show more (996,000 characters left)", ".part.passage")
    assert page.js(length) == 4000
    page.click(".part.passage .fold")
    page.wait_text("show more (946,000 characters left)", ".part.passage")
    assert has_no_sideways_scroll(page)


def test_tokens_are_shaded_by_mask_and_by_logprob(page, view, results, tmp_path, bpe_tokenizer):
    bpe_tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    page.open(view(results, tokenizer=tmp_path / "tokenizer.json") + "#two.search.greedy/facts/0")
    page.wait_for("!!document.querySelector('.trajectory')")
    page.press("t")
    page.wait_text("mask 1, trained on")
    classes = page.js("[...document.querySelectorAll('.tokens span')].map(one => one.className)")
    assert classes == ["written"] * 4 + ["given"] * 3 + ["written"] * 4
    page.press("t")
    page.wait_text("surprised")
    share = "document.querySelector('.tokens .written').style.getPropertyValue('--share')"
    assert page.js(share) == "8.3%"  # 0.5 nats of 6
    title = page.js("document.querySelector('.tokens .written').title")
    assert title == "id 10, logprob -0.500, p 0.607"


def test_without_a_tokenizer_the_page_says_what_is_needed(page, view, results):
    page.open(view(results) + "#one.search.greedy/facts/0")
    page.wait_for("!!document.querySelector('.trajectory')")
    page.press("t")
    page.wait_text("give --tokenizer DIR", ".trajectory .notice")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_one_thing_at_a_time_in_both_colours(page, view, run_dir, scheme):
    page.resize(400, 800)
    page.prefer(scheme)
    page.open(view(run_dir))
    page.wait_for(f"{ROWS}.length > 5")
    assert has_no_sideways_scroll(page)
    page.click(".row-item")
    page.wait_for("!!document.querySelector('.trajectory')")
    page.click("#group")
    page.wait_for("document.querySelectorAll('.columns .trajectory').length === 4")
    assert has_no_sideways_scroll(page)
    assert page.js("getComputedStyle(document.getElementById('side')).display") == "none"
    background = page.js("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 20, 23)"}[scheme]
    page.click(".only-narrow")
    page.wait_for("getComputedStyle(document.getElementById('detail')).display === 'none'")


def test_nothing_is_asked_of_another_machine(page, view, results):
    address = view(results)
    page.open(address + "#one.search.greedy/facts/0")
    page.wait_for("!!document.querySelector('.trajectory')")
    assert {
        url for url in page.requests if not url.startswith((address, "data:", "about:"))
    } == set()
    assert len(page.requests) > 5
    page.js("fetch('http://127.0.0.1:9/').catch(() => window.refused = true)")
    assert page.js("window.refused")
    page.errors.clear()  # the policy says so in the console


def test_many_trajectories_are_a_list_of_few_nodes(page, view, tmp_path):
    records = [record_of(f"q/{number}", f"question {number}?") for number in range(3000)]
    page.open(view(write_lines(tmp_path / "a.jsonl", records)))
    page.wait_text("3,000 trajectories")
    assert page.js(f"{ROWS}.length") < 60
    page.js("document.getElementById('list').scrollTop = 1e9")
    page.wait_for(f"{ROWS}.some(row => row.textContent.includes('question 2999?'))")
    assert page.js(f"{ROWS}.length") < 60


def test_what_is_written_while_one_looks_appears(page, view, tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [])
    page.open(view(path))
    page.wait_text("a.jsonl is empty", "#notes")
    with path.open("a") as file:
        file.write(json.dumps(record_of("a", "the first?")) + "\n")
    wait_rows(page, 1)
    assert questions(page) == ["the first?"]
    page.wait_for("document.getElementById('notes').textContent === ''")
