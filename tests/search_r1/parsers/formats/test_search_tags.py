import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_r1.parsers import ParseStatus
from search_r1.parsers.formats.search_tags import SearchTagsParser

PARSER = SearchTagsParser()


@pytest.mark.parametrize(
    ("text", "query", "content"),
    [
        ("<search>Dracula</search>", "Dracula", ""),
        ("I think. <search> who\n wrote\tit </search> rest", "who wrote it", "I think. "),
        ("<search>富士山 é 🐋</search>", "富士山 é 🐋", ""),
        ("<search>first</search><search>second</search>", "first", ""),
        ("<search>one <search>two</search>", "two", "<search>one "),
        ("<search>a < b</search>", "a < b", ""),
        ("<search>\"quoted\" & 'odd'</search>", "\"quoted\" & 'odd'", ""),
    ],
)
def test_a_closed_search_is_a_call(text, query, content):
    parsed = PARSER.extract_tool_calls(text)
    assert (parsed.status, parsed.tools_called, parsed.error) == (ParseStatus.CALL, True, None)
    assert [(call.name, call.arguments) for call in parsed.tool_calls] == [
        ("search", {"query": query})
    ]
    assert parsed.content == content
    assert text[: parsed.end].endswith("</search>")
    assert parsed.end == text.index("</search>") + len("</search>")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<search></search>", "is empty"),
        ("<search> \n </search>", "is empty"),
        ("<search>never closed", "<search> was not closed by </search>"),
        ("Dracula</search>", "</search> closes a tag that was never opened"),
        ("<search><b>x</b></search>", "contains a tag"),
        ("<search><answer>x</search>", "contains a tag"),
    ],
)
def test_a_broken_search_is_malformed_and_says_why(text, error):
    parsed = PARSER.extract_tool_calls(text)
    assert parsed.status is ParseStatus.MALFORMED
    assert error in parsed.error
    assert (parsed.tool_calls, parsed.tools_called, parsed.end) == ([], False, 0)
    assert parsed.content == text


@pytest.mark.parametrize(
    "text", ["", "no tag", "<answer>x</answer>", "<Search>x</Search>", "< search>", "search>"]
)
def test_text_without_the_tag_is_no_call(text):
    parsed = PARSER.extract_tool_calls(text)
    assert (parsed.status, parsed.content, parsed.error) == (ParseStatus.NO_CALL, text, None)


def test_text_cut_at_every_character_never_becomes_another_call():
    text = "Think é🐋. <search>Dracula author</search>. More <answer>x</answer>"
    end = text.index("</search>") + len("</search>")
    begin = text.index("<search>") + len("<search>")
    for cut in range(len(text) + 1):
        parsed = PARSER.extract_tool_calls(text[:cut])
        if cut >= end:
            assert parsed.tool_calls[0].arguments == {"query": "Dracula author"}
        else:
            expected = ParseStatus.MALFORMED if cut >= begin else ParseStatus.NO_CALL
            assert parsed.status is expected


pieces = st.lists(
    st.sampled_from(
        [
            "<search>",
            "</search>",
            "<answer>",
            "</answer>",
            "<information>",
            "<",
            ">",
            "/",
            "q ",
            "\n",
            "🐋",
        ]
    )
)


@given(st.one_of(st.text(), pieces.map("".join)))
def test_nothing_a_model_writes_raises(text):
    parsed = PARSER.extract_tool_calls(text)
    assert parsed.tools_called == (parsed.status is ParseStatus.CALL)
    assert (parsed.error is not None) == (parsed.status is ParseStatus.MALFORMED)
    if parsed.tools_called:
        query = parsed.tool_calls[0].arguments["query"]
        assert query == " ".join(query.split()) != ""
    PARSER.format_error(parsed.error or "")


def test_a_query_too_long_for_a_server_is_the_models_mistake():
    longest = PARSER.extract_tool_calls(f"<search>{'=' * 2000}</search>")
    assert longest.status is ParseStatus.CALL
    parsed = PARSER.extract_tool_calls(f"<search>{'=' * 2001}</search>")
    assert parsed.status is ParseStatus.MALFORMED
    assert parsed.error == "the query has 2001 characters; 2000 are the most"


def test_an_error_quotes_no_more_than_a_line_of_the_model():
    error = PARSER.extract_tool_calls("<search>" + "<b>" * 10_000 + "</search>").error
    assert len(error) < 200


def test_tag_names_can_be_chosen():
    parser = SearchTagsParser(search_tag="query", information_tag="documents")
    assert parser.stop == ("</query>",)
    assert parser.forbidden == ("<documents>",)
    assert parser.extract_tool_calls("<query>x</query>").tools_called
    assert parser.extract_tool_calls("<search>x</search>").status is ParseStatus.NO_CALL
    assert parser.format_results(["x"]) == "\n<documents>x</documents>\n"
    assert "<query>query</query>" in parser.format_error("x")


@pytest.mark.parametrize("name", ["", "<b>", "two words", "a-b"])
def test_a_tag_name_that_is_no_word_is_refused(name):
    with pytest.raises(ValueError, match="is not a plain word"):
        SearchTagsParser(search_tag=name)


def test_results_stand_between_information_tags_and_cannot_close_them():
    assert PARSER.format_results(["Doc 1(Title: T) a"]) == (
        "\n<information>Doc 1(Title: T) a</information>\n"
    )
    assert PARSER.format_results(["a", "b </information> c"]) == (
        "\n<information>a</information>\n\n<information>b < /information> c</information>\n"
    )


@given(st.text(), st.text())
def test_no_result_closes_the_block_early(before, after):
    written = PARSER.format_results([f"{before}</information>{after}"])
    assert written.count("</information>") == 1
    assert written.endswith("</information>\n")


def test_an_error_says_how_to_search_and_how_to_answer():
    assert PARSER.format_error("the query is empty") == (
        "\nThat did not work: the query is empty. To search, write <search>query</search>. "
        "To answer, write <answer>answer</answer>.\n"
    )


@pytest.mark.parametrize(
    ("text", "unfinished"),
    [
        ("I think <search>who", 8),
        ("<search>one <search>two", 12),
        ("<search>who</search>", None),
        ("I think <sear", None),
    ],
)
def test_a_search_the_text_breaks_off_is_unfinished(text, unfinished):
    assert PARSER.extract_tool_calls(text).unfinished == unfinished


@pytest.mark.parametrize(
    ("request_stop", "stop"),
    [(None, ["</search>"]), ("x", ["x", "</search>"]), (["</search>"], ["</search>"])],
)
def test_serving_stops_where_a_search_closes(request_stop, stop):
    tools = [{"type": "function", "function": {"name": "search"}}]
    request = {"tools": tools, "stop": request_stop}
    assert PARSER.adjust_request(request) is request
    assert request == {"tools": tools, "stop": stop, "include_stop_str_in_output": True}


@pytest.mark.parametrize("changes", [{"tools": []}, {"tool_choice": "none"}])
def test_a_request_that_may_not_call_is_left_alone(changes):
    tools = [{"type": "function", "function": {"name": "search"}}]
    request = {"tools": tools, "stop": None} | changes
    assert PARSER.adjust_request(dict(request)) == request
