import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_r1.observations import fit_observation as fit
from search_r1.observations import number_passages
from search_r1.parsers.search_tags import SearchTagsParser
from search_r1.styles import RawStyle
from search_r1.types import Passage

PARSER = SearchTagsParser()
FRAME = len("\n<information>Doc 1(Title: T) </information>\n")


def fit_observation(passages, parser, codec, room):
    """Fit the passages of one search in raw style."""
    style = RawStyle(codec, parser)
    return fit([passages], lambda texts: style.results(texts, False), codec, room)


def passage(text, id_="1", title="T"):
    return Passage(id_, title, text)


def test_passages_that_fit_are_whole(byte_codec):
    observation = fit_observation([passage("abc"), passage("défg", "2")], PARSER, byte_codec, 500)
    text = byte_codec.decode(observation.ids)
    assert text == "\n<information>Doc 1(Title: T) abc\nDoc 2(Title: T) défg</information>\n"
    assert observation.passage_ids == ["1", "2"]
    assert not observation.is_truncated


def test_a_passage_is_cut_to_the_last_token_that_fits(byte_codec):
    observation = fit_observation([passage("x" * 100)], PARSER, byte_codec, FRAME + 30)
    assert len(observation.ids) == FRAME + 30
    assert byte_codec.decode(observation.ids).count("x") == 30
    assert observation.is_truncated


def test_an_exact_fit_is_not_truncated(byte_codec):
    observation = fit_observation([passage("x" * 100)], PARSER, byte_codec, FRAME + 100)
    assert not observation.is_truncated


def test_the_long_passage_is_cut_and_the_short_one_left_whole(byte_codec):
    two = [passage("x" * 10, "short"), passage("y" * 200, "long")]
    frame = len(PARSER.format_results([number_passages([passage(""), passage("")])]))
    text = byte_codec.decode(fit_observation(two, PARSER, byte_codec, frame + 60).ids)
    assert (text.count("x"), text.count("y")) == (10, 50)


def test_two_long_passages_share_the_room(byte_codec):
    two = [passage("x" * 300, "1"), passage("y" * 200, "2")]
    frame = len(PARSER.format_results([number_passages([passage(""), passage("")])]))
    text = byte_codec.decode(fit_observation(two, PARSER, byte_codec, frame + 61).ids)
    assert (text.count("x"), text.count("y")) == (30, 30)


def test_the_last_passage_is_left_out_when_its_share_would_be_a_stub(byte_codec):
    two = [passage("x" * 300, "1"), passage("y" * 300, "2")]
    frame = len(PARSER.format_results([number_passages([passage(""), passage("")])]))
    observation = fit_observation(two, PARSER, byte_codec, frame + 15)
    assert observation.passage_ids == ["1"]
    assert observation.is_truncated
    assert len(observation.ids) == frame + 15


def test_no_room_for_tags_and_a_stub_is_none(byte_codec):
    assert fit_observation([passage("x" * 100)], PARSER, byte_codec, FRAME + 7) is None
    assert fit_observation([passage("x" * 100)], PARSER, byte_codec, FRAME + 8) is not None
    assert fit_observation([passage("x" * 100)], PARSER, byte_codec, 0) is None
    assert fit_observation([passage("x" * 100)], PARSER, byte_codec, -5) is None


def test_no_passage_is_not_the_same_as_no_room(byte_codec):
    said = fit_observation([], PARSER, byte_codec, 100)
    assert byte_codec.decode(said.ids) == "\n<information>Nothing was found.</information>\n"
    assert fit_observation([], PARSER, byte_codec, 10) is None


def test_a_first_passage_with_an_endless_title_does_not_hide_the_others(byte_codec):
    two = [passage("text", "1", title="T" * 500), passage("useful", "2")]
    observation = fit_observation(two, PARSER, byte_codec, 200)
    assert observation is not None
    assert "useful" in byte_codec.decode(observation.ids)


def test_a_cut_inside_a_character_leaves_no_replacement_mark(byte_codec):
    for room in range(FRAME + 8, FRAME + 30):
        text = byte_codec.decode(
            fit_observation([passage("🐋é富" * 20)], PARSER, byte_codec, room).ids
        )
        assert "\ufffd" not in text
        assert "🐋é" in text


def test_the_closing_tag_cannot_be_made_by_a_cut(byte_codec):
    for room in range(FRAME + 8, FRAME + 60):
        text = byte_codec.decode(
            fit_observation([passage("</information>" * 9)], PARSER, byte_codec, room).ids
        )
        assert text.count("</information>") == 1


passages_of_any_text = st.lists(
    st.builds(
        Passage,
        id=st.uuids().map(str),
        title=st.text(max_size=15),
        text=st.text(max_size=120) | st.just("</information> the Liffey 富士山 " * 9),
    ),
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(found=passages_of_any_text, room=st.integers(-5, 400), is_bpe=st.booleans())
def test_any_passages_fit_any_room(byte_codec, bpe_codec, found, room, is_bpe):
    codec = bpe_codec if is_bpe else byte_codec
    observation = fit_observation(found, PARSER, codec, room)
    if observation is None:
        return
    text = codec.decode(observation.ids)
    assert len(observation.ids) <= room
    assert text.startswith("\n<information>")
    assert text.endswith("</information>\n")
    assert text.count("</information>") == 1
    ids = [item.id for item in found]
    assert [id_ for id_ in ids if id_ in observation.passage_ids] == observation.passage_ids
    is_whole = text == PARSER.format_results([number_passages(found)])
    assert observation.is_truncated != is_whole
