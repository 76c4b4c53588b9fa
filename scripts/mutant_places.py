"""Put a mutant in the place of code that is imported already, where it changes functions only.

A function keeps its identity and gets other code, so whoever imported it runs the mutant. The tests
are then collected once for all mutants, and not once for each.
"""

import gc
import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

Place = tuple[str, int]
"""Qualified name and first line of a function."""


def functions_of(path: Path) -> dict[Place, list[FunctionType]]:
    """List all living functions that were made by a file, decorated ones and methods included."""
    found = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename == str(path):
            found[one.__code__.co_qualname, one.__code__.co_firstlineno].append(one)
    return found


def changed_functions(old: CodeType, new: CodeType) -> dict[Place, CodeType] | None:
    """Give the functions that differ, with their new code.

    Returns:
        None when what differs is run on import: a constant, a default, the body of a class.
    """
    if _shape(old) != _shape(new):
        return None
    changed: dict[Place, CodeType] = {}
    for before, after in zip(_inner(old), _inner(new), strict=True):
        if not before.co_flags & inspect.CO_OPTIMIZED:  # the body of a class
            within = changed_functions(before, after)
            if within is None:
                return None
            changed |= within
        elif before.co_freevars != after.co_freevars:
            return None
        elif not _is_same(before, after):
            changed[before.co_qualname, before.co_firstlineno] = after
    return changed


def put(functions: Mapping[Place, Sequence[FunctionType]], new: Mapping[Place, CodeType]) -> None:
    """Give functions their new code."""
    for place, code in new.items():
        for function in functions[place]:
            function.__code__ = code


def _is_same(old: CodeType, new: CodeType) -> bool:
    """Compare two functions, and those inside them, wherever they stand in their files."""
    inner = zip(_inner(old), _inner(new), strict=False)
    return _shape(old) == _shape(new) and all(_is_same(one, other) for one, other in inner)


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _shape(code: CodeType) -> tuple[Any, ...]:
    """Give all of a code object except where it stands and the code inside it."""
    constants = [
        CodeType if isinstance(one, CodeType) else (type(one), repr(one)) for one in code.co_consts
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_code, code.co_exceptiontable, constants, names, counts)
