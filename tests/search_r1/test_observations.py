import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_r1.demo import ByteCodec
from search_r1.observations import fit_observation as fit
from search_r1.observations import number_passages
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.styles import RawStyle
from search_r1.types import Passage

PARSER = SearchTagsParser()
FRAME = len("\n<information>Doc 1(Title: T) </information>\n")


def fit_observation(passages, parser, codec, room):
    """Fit the passages of one search in raw style."""
    style = RawStyle(codec, parser)
    return fit([passages], lambda texts: style.results(texts, False), codec, room)


def fit_several(bodies, codec, room, cap=None):
    """Fit the results of several calls in raw style."""
    style = RawStyle(codec, PARSER)
    return fit(bodies, lambda texts: style.results(texts, False), codec, room, cap)


def passage(text, id_="1", title="T"):
    return Passage(id_, title, text)


def test_passages_that_fit_are_whole(byte_codec):
    observation = fit_observation([passage("abc"), passage("défg", "2")], PARSER, byte_codec, 500)
    text = byte_codec.decode(observation.ids)
    assert text == "\n<information>Doc 1(Title: T) abc\nDoc 2(Title: T) défg</information>\n"
    assert observation.passage_ids == ["1", "2"]
    assert not observation.is_truncated


def test_a_passage_is_cut_to_the_last_token_that_fits(byte_codec):
    observation = fit_observation([passage("X" * 100)], PARSER, byte_codec, FRAME + 30)
    assert len(observation.ids) == FRAME + 30
    assert byte_codec.decode(observation.ids).count("X") == 30
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


@pytest.mark.parametrize(
    ("lengths", "cut"), [((10, 30, 200), (10, 30, 60)), ((10, 100, 200), (10, 45, 45))]
)
def test_what_short_passages_leave_is_shared_by_the_long_ones(byte_codec, lengths, cut):
    three = [passage(letter * n, letter) for letter, n in zip("XYZ", lengths, strict=True)]
    frame = len(PARSER.format_results([number_passages([passage("")] * 3)]))
    text = fit_observation(three, PARSER, byte_codec, frame + 100).text
    assert tuple(text.count(letter) for letter in "XYZ") == cut


class Seams(ByteCodec):
    """Needs one token more where a tag follows an x, as tokenizers may where texts meet."""

    def encode(self, text):
        first, *others = text.split("x<")
        ids = list(first.encode())
        for piece in others:
            ids += [300, *f"x<{piece}".encode()]
        return ids

    def decode(self, ids):
        return super().decode([id_ for id_ in ids if id_ != 300])


@pytest.mark.parametrize("room", [8, 9, 30, 100])
def test_a_cut_keeps_to_the_room_where_tokens_differ_at_its_seams(room):
    codec = Seams()
    assert codec.encode("ax<b") == [97, 300, *b"x<b"]
    observation = fit_observation([passage("x" * 100)], PARSER, codec, FRAME + room)
    if room == 8:
        assert observation is None
    else:
        assert observation.text.count("x") == room - 1
        assert len(observation.ids) == FRAME + room


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


TAGS = len(PARSER.format_results([""]))
TWO_TAGS = len(PARSER.format_results(["", ""]))


def test_results_of_several_calls_stand_in_order_with_their_passages(byte_codec):
    bodies = ["first", [passage("abc", "p"), passage("def", "q")], "third", [passage("g", "r")]]
    observation = fit_several(bodies, byte_codec, 900)
    texts = ["first", number_passages(bodies[1]), "third", number_passages(bodies[3])]
    assert observation.text == PARSER.format_results(texts)
    assert byte_codec.decode(observation.ids) == observation.text
    assert observation.passage_ids == ["p", "q", "r"]
    assert observation.is_truncated is False


@pytest.mark.parametrize(("room", "cap", "left"), [(900, 30, 30), (20, 30, 20), (40, None, 40)])
def test_one_text_is_cut_to_its_cap_and_to_the_room(byte_codec, room, cap, left):
    cap = None if cap is None else TAGS + cap
    observation = fit_several(["X" * 100], byte_codec, TAGS + room, cap)
    assert observation.text.count("X") == left
    assert observation.is_truncated is True


def test_the_result_of_every_call_keeps_to_the_cap(byte_codec):
    observation = fit_several(["X" * 20, "Y" * 100, "Z" * 30], byte_codec, 900, TAGS + 40)
    assert [observation.text.count(letter) for letter in "XYZ"] == [20, 40, 30]
    assert observation.is_truncated is True


def test_results_that_fit_alone_and_not_together_share_the_room(byte_codec):
    observation = fit_several(["X" * 40, "Y" * 40], byte_codec, TWO_TAGS + 60, TAGS + 50)
    assert [observation.text.count(letter) for letter in "XY"] == [30, 30]
    assert len(observation.ids) == TWO_TAGS + 60
    assert observation.is_truncated is True


@pytest.mark.parametrize("place", [0, 1])
def test_one_result_without_room_is_no_observation_of_the_others(byte_codec, place):
    bodies = ["short"]
    bodies.insert(place, [passage("text", title="T" * 500)])
    assert fit_several(bodies, byte_codec, 900, 100) is None


def test_results_that_have_no_room_together_are_none(byte_codec):
    bodies = ["X" * 40, "Y" * 40]
    assert fit_several(bodies, byte_codec, TWO_TAGS + 15) is None
    assert fit_several(bodies, byte_codec, TWO_TAGS + 16).text.count("X") == 8


def test_a_title_without_room_costs_only_its_own_passage(byte_codec):
    three = [passage("one", "1"), passage("two", "2", title="T" * 500), passage("three", "3")]
    observation = fit_observation(three, PARSER, byte_codec, 200)
    assert observation.passage_ids == ["1", "3"]
    assert observation.is_truncated is True
    assert "Doc 2(Title: T) three" in observation.text


def test_passages_none_of_which_fits_are_not_called_nothing_found(byte_codec):
    assert fit_observation([passage("text", title="T" * 500)], PARSER, byte_codec, 200) is None


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
@settings(max_examples=200)
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
