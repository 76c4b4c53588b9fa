"""What is made of the calls that an engine's parser read, and of those it dropped."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from search_r1.parsers import ParseStatus
from search_r1.parsers.engines.results import Markers, find_markers, judge
from search_r1.types import ToolCall

TAGS = Markers(("<call>",), ("</call>",))
GOOD = ("search", '{"query": "Dracula"}')


def test_calls_are_decoded_and_the_text_behind_them_is_left_out():
    text = "So <call>x</call> and on"
    found = judge(text, [GOOD, ("now", "")], "So", TAGS)
    assert found.status is ParseStatus.CALL
    assert found.tool_calls == [ToolCall("search", {"query": "Dracula"}), ToolCall("now", {})]
    assert (found.content, found.error, found.unfinished) == ("So", None, None)
    assert text[found.end :] == " and on"


def test_arguments_that_are_no_object_are_malformed_beside_good_calls():
    for arguments in ("[1]", "{", '{"a": NaN}', "[" * 9000):
        found = judge("", [("bad", arguments), GOOD], "", Markers())
        assert found.status is ParseStatus.MALFORMED, arguments[:9]
        assert [call.name for call in found.tool_calls] == ["search"]
        assert found.error


def test_a_marker_without_its_call_is_malformed_and_without_markers_nobody_knows():
    found = judge("<call>a</call><call>b</call>", [GOOD], "", TAGS)
    assert (found.status, found.unfinished) == (ParseStatus.MALFORMED, None)
    broken_off = judge("Well <call>a", [], "Well <call>a", TAGS)
    assert (broken_off.status, broken_off.unfinished) == (ParseStatus.MALFORMED, 5)
    assert judge("<call>a", [], "<call>a", Markers()).status is ParseStatus.NO_CALL


def test_a_format_without_an_end_marker_is_unfinished_only_when_nothing_was_read():
    only_start = Markers(("[CALLS]",))
    assert judge("a [CALLS]b", [], "", only_start).unfinished == 2
    assert judge("a [CALLS]b", [GOOD], "", only_start).unfinished is None


def test_markers_are_read_under_the_names_the_engines_use():
    parser = SimpleNamespace(tool_call_start_token="<a>", tool_call_end_token="</a>", bot_token=7)
    assert find_markers(parser) == Markers(("<a>",), ("</a>",))
    assert find_markers(SimpleNamespace(bot_token="functools")) == Markers()
    config = SimpleNamespace(terminals={"TOOL_START": "<b>", "TOOL_END": "</b>"})
    engine = SimpleNamespace(parser_engine_config=config)
    assert find_markers(SimpleNamespace(_parser_engine=engine)) == Markers(("<b>",), ("</b>",))


@given(st.text("<cal>/x"))
def test_what_is_shown_of_a_growing_text_never_shrinks_and_holds_no_call(text):
    shown = [TAGS.before(text[:end]) for end in range(len(text) + 1)]
    assert shown == sorted(shown)
    assert "<call>" not in text[: shown[-1]]
