"""Texts of single tokens add up to the text of all."""

import pytest

from eval.view.tokens import TokenTexts, open_tokenizer

TEXT = "<search>who wrote Zürich?</search>\n  two  spaces, 東京 and 🦇 end."


@pytest.fixture(params=["bpe_tokenizer", "llama3_tokenizer", "mistral_tokenizer"])
def texts(request, tmp_path):
    backend = request.getfixturevalue(request.param).backend_tokenizer
    backend.save(str(tmp_path / "tokenizer.json"))
    return TokenTexts(tmp_path / "tokenizer.json"), backend


def test_the_texts_of_tokens_are_one_for_each_id_and_add_up(texts):
    one, backend = texts
    ids = backend.encode(TEXT, add_special_tokens=False).ids
    split = one.split(ids)
    assert len(split) == len(ids)
    assert "".join(split) == one.decode(ids)
    assert "\ufffd" not in "".join(split)
    assert one.split([]) == []


def test_half_a_character_is_shown_as_what_it_is(texts):
    one, backend = texts
    ids = backend.encode("🦇", add_special_tokens=False).ids
    assert "".join(one.split(ids[:-1])) == one.decode(ids[:-1])


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer .* Give another"):
        open_tokenizer(tmp_path / "tokenizer.json")
