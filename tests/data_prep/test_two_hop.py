from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.facts import HIGHEST_POINT, INTERNET_CODE, SMALL_CAPITAL
from data_prep.knowledge.two_hop import two_hop_candidates
from data_prep.passages import CorpusPassage
from data_prep.questions import Question


def about(kind, country, *golds, said=True):
    """Give a question about a country whose passage says so."""
    name = f"{kind.source}-{country}"
    question = Question(name, "?", golds, queries=(kind.query.format(country),))
    text = f"The {kind.source} of {country} is {golds[0]}."
    passages = (CorpusPassage(name, country, text),) if said else ()
    return Candidate(kind.source, question, (f"country:{country}",), passages)


def test_the_answer_about_a_country_leads_to_another_by_the_country():
    peak = about(HIGHEST_POINT, "Chad", "Emi Koussi", "Koussi")
    code = about(INTERNET_CODE, "Chad", ".td")
    first, second = two_hop_candidates([peak, code])
    assert first.source == "two_hop_peak_code"
    assert first.question.text == (
        "what is the internet country code of the country whose highest point is Emi Koussi?"
    )
    assert first.question.gold_answers == (".td",)
    assert first.question.queries == (
        "country whose highest point is Emi Koussi",
        "internet country code of Chad",
    )
    assert first.passages == (*peak.passages, *code.passages)
    assert first.entities == ("country:Chad",)
    assert second.source == "two_hop_code_peak"
    assert second.question.gold_answers == ("Emi Koussi", "Koussi")
    assert second.passages == (*code.passages, *peak.passages)


def test_a_capital_leads_to_a_code():
    asked = two_hop_candidates(
        [about(SMALL_CAPITAL, "Togo", "Lome"), about(INTERNET_CODE, "Togo", ".tg")]
    )
    assert [each.source for each in asked] == ["two_hop_capital_code"]


def test_what_leads_to_two_countries_or_stands_in_the_first_passage_is_not_asked():
    shared = [about(HIGHEST_POINT, name, "Twin Peak") for name in ("Aa", "Bb")]
    codes = [about(INTERNET_CODE, "Aa", ".aa"), about(INTERNET_CODE, "Bb", ".bb")]
    sources = [each.source for each in two_hop_candidates([*shared, *codes])]
    # The codes still lead to the peak. Were the code a word of the passage, nothing would.
    assert sources == ["two_hop_code_peak"] * 2
    told = [about(HIGHEST_POINT, "Ee", "Ee Top"), about(INTERNET_CODE, "Ee", ".ee")]
    assert [each.source for each in two_hop_candidates(told)] == ["two_hop_code_peak"]


def test_what_the_corpus_does_not_say_and_the_examples_are_not_asked():
    silent = [about(HIGHEST_POINT, "Cc", "C Top", said=False), about(INTERNET_CODE, "Cc", ".cc")]
    shown = [about(HIGHEST_POINT, "France", "Mont Blanc"), about(INTERNET_CODE, "France", ".fr")]
    assert two_hop_candidates([*silent, *shown]) == []
