"""Functions that the tests offer as tools."""

import asyncio
import functools
import os
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, Optional

from annotated_types import Gt
from typing_extensions import TypedDict

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import ToolResult
from search_r1.types import Passage


class Unit(Enum):
    METRE = "m"
    FOOT = "ft"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict):
    digits: int


def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    The sum is exact.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b


def everything(
    text: str,
    number: float,
    flag: bool,
    names: list[str],
    table: dict[str, int],
    mode: Literal["fast", "slow"],
    unit: Unit,
    point: Point,
    options: Options,
    limit: Optional[int] = None,  # noqa: UP045
    either: int | str = 1,
    schema: str = "x",
) -> str:
    """Take one of every type."""
    return f"{unit.name} {point.x + point.y:g} {options['digits']} {limit} {schema} {type(text)}"


def positive(n: Annotated[int, Gt(0)]) -> int:
    """Take a positive number."""
    return n


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return f"traced {function(*args, **kwargs)}"

    return wrapper


@traced
def decorated(a: int) -> int:
    """Give a number back, traced."""
    return a


async def wait(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return f"waited {seconds:g}"


_WAITING: list[asyncio.Event] = []


async def meet(callers: int) -> str:
    """Wait until so many callers are here."""
    here = asyncio.Event()
    _WAITING.append(here)
    if len(_WAITING) == callers:
        for caller in _WAITING:
            caller.set()
    await here.wait()
    return "met"


def wait_for_file(path: str) -> str:
    """Block until there is a file."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return "there"


async def stubborn() -> str:
    """Ignore being cancelled, three times."""
    for _ in range(3):
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue
    return "late"


async def leave() -> str:
    """Leave the interpreter."""
    raise SystemExit(3)


def refuse(reason: str) -> str:
    """Refuse."""
    raise ToolError(f"cannot: {reason}")


def fail() -> str:
    """Fail as infrastructure does."""
    raise ToolFailedError("the database is down")


def crash() -> float:
    """Divide by zero."""
    return 1 / 0


def stop() -> str:
    """Stop an iteration that is none."""
    raise StopIteration


def spin() -> str:
    """Never return, in pure Python."""
    while True:
        pass


def hold() -> int:
    """Hold Python's lock for hours."""
    return len(str(9 ** (9**9)))


def die() -> str:
    """End the process without a word."""
    os._exit(7)


def pause(seconds: float) -> str:
    """Block."""
    time.sleep(seconds)
    return f"paused in {os.getpid()}"


def big(n: int) -> str:
    """Give many characters."""
    return "x" * n


def record() -> dict:
    """Give a record."""
    return {"name": "Zoë", "size": [1, 2]}


def surrogate() -> str:
    """Give half of a character."""
    return "a\ud83d"


def find(query: str) -> ToolResult:
    """Give passages."""
    return ToolResult(passages=(Passage("1", "T", query * 3, 0.5),))


def shout(text: str) -> str:
    """Print, which must not disturb the protocol."""
    print(text)  # noqa: T201
    return text.upper()


def untyped(a, b: int = 1) -> int:
    """Lack a type."""
    return b


def starred(*values: int) -> int:
    """Take any number of values."""
    return sum(values)


def unspeakable(a: type(os)) -> int:
    """Take a module."""
    return 1


def undocumented(a: int) -> int:
    return a


VALUE = 3
