"""A mutant takes the place of functions that are imported already, and of nothing else."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
import functools

LIMIT = 3

def more(number, by=1):
    """Add."""
    return number + by

class Pair:
    size = 2

    @property
    def both(self):
        return [n * 2 for n in range(self.size)]

    @functools.cache
    def twice(self):
        return 2 * more(self.size)
'''


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return pytest.importorskip("mutant_places")


@pytest.fixture
def change(places: ModuleType) -> Callable[[str, str], dict[Any, CodeType] | None]:
    def find(old: str, new: str) -> dict[Any, CodeType] | None:
        assert old in SOURCE
        changed = SOURCE.replace(old, new)
        codes = [compile(source, "made.py", "exec") for source in (SOURCE, changed)]
        found: dict[Any, CodeType] | None = places.changed_functions(*codes)
        return found

    return find


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("number + by", "number - by", "more"),
        ("n * 2", "n * 3", "Pair.both"),
        ("2 * more", "3 * more", "Pair.twice"),
    ],
)
def test_the_function_that_a_mutant_changes_is_found(change, old, new, name):
    assert [place[0] for place in change(old, new)] == [name]


@pytest.mark.parametrize(
    ("old", "new"),
    [("LIMIT = 3", "LIMIT = 4"), ("by=1", "by=2"), ("size = 2", "size = 3"), ("= 3", "= 3.0")],
)
def test_what_is_run_on_import_is_no_change_of_functions(change, old, new):
    assert change(old, new) is None


def test_code_that_only_moved_has_not_changed(change):
    assert change("LIMIT = 3", "\n\nLIMIT = 3") == {}


def test_whoever_has_a_function_runs_its_mutant(places, change, tmp_path):
    path = tmp_path / "made.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("made", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    more, pair = made.more, made.Pair()
    functions = places.functions_of(path)
    for old, new in (("number + by", "number - by"), ("n * 2", "n * 3"), ("2 * more", "5 * more")):
        places.put(functions, change(old, new))
    assert (more(7), pair.both, pair.twice()) == (6, [0, 3], 5)
