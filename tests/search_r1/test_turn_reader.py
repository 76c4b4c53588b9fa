"""What a turn reader makes of one turn, case by case, with a codec of one token per byte."""

import logging
from types import MappingProxyType

import pytest

from search_r1.demo import ByteCodec
from search_r1.parsers.formats.hermes import HermesParser
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.turns import Answer, Calls, Mistake, TurnReader
from search_r1.types import FinishReason, ToolCall, Turn

CALL = '<tool_call>\n{"name": "search", "arguments": {"query": "Dracula"}}\n</tool_call>'
ANSWER = "<answer>Bram Stoker</answer>"
MESSAGE = "there was neither a call nor an answer"
EOS = 256


class Special(ByteCodec):
    """Knows three special tokens, each a single id beyond the bytes'."""

    special_ids = MappingProxyType({"<|b|>": 258, "<|a|>": 257, "<|end|>": EOS})


class Listing(HermesParser):
    """Ends turns at strings, special tokens and a token of its own."""

    forbidden = ("<one>", "<two>", "<|a|>")
    stop_token_ids = (9,)

    def __init__(self):
        super().__init__()
        self.stop = ("STOP", "<|b|>")


def reader(parser=None, is_message_answer=False, codec=None):
    return TurnReader(codec or ByteCodec(), parser or HermesParser(), is_message_answer)


def turn(text, stop_reason=FinishReason.EOS, opening=""):
    return Turn(text, 0, len(text), stop_reason, 0.0, opening=opening)


def read(text, parser=None, is_message_answer=False, **how):
    """Find the action of a turn; gives it and the turn."""
    made = turn(text, **how)
    return reader(parser, is_message_answer).find_action(made), made


def test_strings_that_are_special_tokens_stop_as_tokens_and_all_others_as_strings():
    made = reader(Listing(), codec=Special())
    assert made.stop == ("STOP", "<one>", "<two>", "</answer>")
    assert made.stop_token_ids == (9, 257, 258)
    assert made.ending_ids == {EOS, 9}


@pytest.mark.parametrize(
    ("ids", "text", "budget", "reason"),
    [
        ([1, 257], "x", 9, FinishReason.STOP),
        ([1, 258], "x", 9, FinishReason.STOP),
        ([1, 2, 257], "x", 9, FinishReason.STOP),
        ([257, 1], "x", 9, FinishReason.ABORT),
        ([1, 2], "a <two>", 9, FinishReason.STOP),
        ([1, 2], "STOP", 2, FinishReason.STOP),
        ([1, EOS], "x", 2, FinishReason.EOS),
        ([1, 9], "x", 9, FinishReason.EOS),
        ([EOS, 1], "x", 9, FinishReason.ABORT),
        ([EOS, 1, 2], "x", 3, FinishReason.LENGTH),
        ([1, 2], "x", 2, FinishReason.LENGTH),
        ([1, 2], "x", 1, FinishReason.LENGTH),
        ([1, 2], "x", 3, FinishReason.ABORT),
    ],
)
def test_the_last_id_and_the_text_say_how_a_turn_ended(ids, text, budget, reason):
    assert reader(Listing(), codec=Special()).finish_reason(ids, text, budget) is reason


def test_calls_are_an_action():
    found, made = read(f"I look. {CALL}")
    assert found == Calls([ToolCall("search", {"query": "Dracula"})])
    assert made.well_formed is True
    assert (made.overrun, made.is_malformed_call) == (False, False)


def test_an_answer_is_an_action():
    found, made = read(f"I know. {ANSWER}")
    assert found == Answer("Bram Stoker")
    assert (made.well_formed, made.overrun) == (True, False)


@pytest.mark.parametrize(
    ("text", "action"), [(f"{ANSWER} {CALL}", Answer), (f"{CALL}{ANSWER}", Calls)]
)
def test_of_an_answer_and_a_call_the_one_closed_first_counts(text, action):
    found, made = read(text)
    assert isinstance(found, action)
    assert made.overrun is True


def test_neither_is_a_mistake_that_says_so():
    found, made = read("I wonder.")
    assert (found, made.well_formed) == (Mistake(MESSAGE), False)
    assert made.is_malformed_call is False


def test_a_broken_call_is_told_in_the_parsers_words():
    found, made = read('<tool_call>\n{"name": search}\n</tool_call>')
    assert isinstance(found, Mistake)
    assert made.is_malformed_call is True
    assert found.error not in ("", MESSAGE)


def test_an_answer_beside_a_broken_call_counts_and_is_not_well_formed():
    found, made = read(f"<tool_call>\nnonsense\n</tool_call>{ANSWER}")
    assert found == Answer("Bram Stoker")
    assert (made.is_malformed_call, made.well_formed) == (True, False)


def test_an_answer_inside_a_call_that_the_text_breaks_off_is_none():
    found, _ = read(f'<tool_call>\n{{"name": "search", "arguments": {{"query": "{ANSWER}')
    assert isinstance(found, Mistake)


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        (f"<one> {ANSWER}", "<one>"),
        (f"x<two> {ANSWER}", "<two>"),
        (f"<two> {ANSWER} <two>", "<two>"),
        (f"x<one>{CALL}", "<one>"),
        ("nothing else <one>", "<one>"),
    ],
)
def test_what_only_the_environment_writes_spoils_the_action_after_it(text, forbidden):
    found, made = read(text, Listing())
    assert found == Mistake(f"{forbidden} is written for you, not by you")
    assert made.well_formed is False


@pytest.mark.parametrize("action", [ANSWER, CALL])
def test_what_only_the_environment_writes_spoils_nothing_before_it(action):
    found, made = read(f"{action}<one>", Listing())
    assert not isinstance(found, Mistake)
    assert made.well_formed is True


def test_only_what_stands_after_the_last_closed_thought_counts():
    thoughts = f"<think>{ANSWER}</think> so <think>{CALL}<one></think>"
    assert read(f"{thoughts}{ANSWER}", Listing())[0] == Answer("Bram Stoker")
    assert read(thoughts)[0] == Mistake(MESSAGE)


def test_a_turn_goes_on_from_its_opening():
    assert read("Bram Stoker</answer>", opening="<answer>")[0] == Answer("Bram Stoker")


def test_a_message_is_an_answer_where_that_is_asked_for():
    found, made = read(" It is Stoker.\n<|end|>", is_message_answer=True)
    assert found == Answer("It is Stoker.")
    assert made.well_formed is True


@pytest.mark.parametrize(
    ("text", "is_asked_for", "stop_reason"),
    [
        ("It is Stoker.", False, FinishReason.EOS),
        ("It is Stoker.", True, FinishReason.LENGTH),
        ("It is Stoker.", True, FinishReason.STOP),
        ("<tool_call>\nnonsense\n</tool_call>", True, FinishReason.EOS),
        (" \n<|end|>", True, FinishReason.EOS),
        ("", True, FinishReason.EOS),
    ],
)
def test_no_other_turn_is_a_message(text, is_asked_for, stop_reason):
    found, _ = read(text, None, is_asked_for, stop_reason=stop_reason)
    assert isinstance(found, Mistake)
    assert found.error


def test_the_ending_token_is_no_part_of_a_message_and_its_text_elsewhere_is():
    assert read("a <|end|> b<|end|>", None, True)[0] == Answer("a <|end|> b")
    assert read("<|end|> b", None, True)[0] == Answer("<|end|> b")


@pytest.mark.parametrize("ending", ["\t", "<|end|>"])
def test_any_of_several_ending_tokens_is_taken_off(ending):
    parser = Listing()
    assert ByteCodec().decode(parser.stop_token_ids) == "\t"
    assert read(f"{CALL}{ending}", parser)[1].overrun is False


def test_a_call_with_its_ending_token_overruns_nothing():
    assert read(f"{CALL}<|end|>")[1].overrun is False
    assert read(f"{CALL}<|end|>", stop_reason=FinishReason.LENGTH)[1].overrun is True


def test_an_ending_token_without_text_takes_nothing_away():
    class Silent(ByteCodec):
        eos_ids = frozenset({EOS, 257})

        def decode(self, ids):
            return super().decode([id_ for id_ in ids if id_ != 257])

    made = turn("It is Stoker.<|end|>")
    found = TurnReader(Silent(), SearchTagsParser(), True).find_action(made)
    assert found == Answer("It is Stoker.")


def test_a_parser_that_raises_has_read_a_broken_call_and_is_logged_loudly_once(caplog):
    class Broken(HermesParser):
        def extract_tool_calls(self, text, request=None):
            raise RecursionError("of the plugin")

    made = reader(Broken(), is_message_answer=True)
    turns = [turn("x"), turn("x"), turn(ANSWER)]
    with caplog.at_level(logging.DEBUG, "search_r1.turns"):
        found = [made.find_action(one) for one in turns]
    broken = Mistake("the call could not be read")
    assert found == [broken, broken, Answer("Bram Stoker")]
    assert [one.is_malformed_call for one in turns] == [True] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING, *[logging.DEBUG] * 2]
    assert "of the plugin" in caplog.text
