"""The committed result of `make mutants` is whole, and every survivor has its reason."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs" / "mutants.json").read_text("utf-8"))
    return found


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield
    for name in ("mutants", "mutant_report", "mutant_runs", "mutant_places"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("scripts")
def test_the_page_says_what_the_result_holds(results: dict[str, Any]) -> None:
    from mutant_report import render

    assert (ROOT / "docs" / "mutants.md").read_text("utf-8") == render(results)


@pytest.mark.usefixtures("scripts")
def test_nineteen_mutants_of_twenty_are_noticed_and_the_others_explained(
    results: dict[str, Any],
) -> None:
    from mutant_report import share_noticed

    assert share_noticed(list(results.values())) >= 0.95
    for module, result in results.items():
        assert result["survived"] == len(result["survivors"])
        assert [one for one in result["survivors"] if not one["reason"]] == [], module


@pytest.mark.usefixtures("scripts")
def test_modules_and_their_tests_exist(results: dict[str, Any]) -> None:
    from mutants import COVERED

    assert results.keys() <= COVERED.keys()
    for module, tests in COVERED.items():
        assert [path for path in (module, *tests) if not (ROOT / path).exists()] == []
