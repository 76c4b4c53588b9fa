"""The text of an end-of-turn token, taken off whole turns and streamed ones alike."""

from hypothesis import given
from hypothesis import strategies as st

from search_r1.serving.endings import TurnEnding

ENDINGS = ["<|im_end|>", "<|end|>", "</s>", "d|>", ""]
PIECES = st.lists(st.sampled_from([*ENDINGS, "<|", "<|im", "_end", "|>", "<", "a", "é\n"]))


def test_one_ending_is_taken_off_the_end():
    ending = TurnEnding(ENDINGS)
    assert ending.cut("Bram Stoker<|im_end|>") == "Bram Stoker"
    assert ending.cut("</s></s>") == "</s>"
    assert ending.cut("a </s> b") == "a </s> b"
    assert TurnEnding([]).cut("a</s>") == "a</s>"


def test_text_is_given_out_as_soon_as_it_cannot_be_an_ending():
    ending = TurnEnding(ENDINGS)
    assert [ending.feed(piece) for piece in ("a", " <", "|im", "ages|>", "<|end|>", "")] == [
        *("a", " ", "", "<|images|>", "", ""),
    ]
    assert ending.close() == ""
    assert ending.feed("a<|im") + ending.close() == "a<|im"


@given(PIECES)
def test_pieces_say_the_same_as_the_whole(pieces):
    for endings in (ENDINGS, []):
        ending = TurnEnding(endings)
        streamed = "".join(ending.feed(piece) for piece in pieces) + ending.close()
        assert streamed == ending.cut("".join(pieces))
