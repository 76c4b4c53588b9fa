"""Where Python source can be mutated, and into what: mutmut's operators and a few more."""

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import libcst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators

# A mutant there says nothing of the tests: types; decorators and imports, which act on import.
_SKIPPED = (libcst.Annotation, libcst.Decorator, libcst.Import, libcst.ImportFrom)
# Beside mutmut's: part of which statement, and what it becomes.
_PARTS = (
    (libcst.If, "test", ("({}) and False", "({}) or True")),
    (libcst.For, "iter", ("list({})[:1]",)),
    (libcst.CompFor, "iter", ("list({})[:1]",)),
    (libcst.Return, "value", ("None",)),
)
_DROPPED = (libcst.Expr, libcst.Raise)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's source with one change."""

    line: int
    change: str  # the lines before and after it
    source: str


class _Sites(libcst.CSTVisitor):  # type: ignore[misc]
    """Collects pieces of the source, in bytes, and what to put in their place."""

    METADATA_DEPENDENCIES = (ByteSpanPositionProvider,)

    def __init__(self, source: bytes) -> None:
        super().__init__()
        self._source = source
        self._raised: libcst.CSTNode | None = None
        self.found: list[tuple[slice, str]] = []

    def on_visit(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, _SKIPPED) or _is_skipped_call(node) or _is_said(node):
            return False
        if isinstance(node, libcst.Raise):
            self._raised = node
        # How an error is worded is no behaviour.
        if not (self._raised and isinstance(node, libcst.SimpleString)):
            self._mutate(node)
        return True

    def on_leave(self, original_node: libcst.CSTNode) -> None:
        if self._raised is original_node:
            self._raised = None

    def _mutate(self, node: libcst.CSTNode) -> None:
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for mutated in operator(node):
                    self._put(node, libcst.Module([]).code_for_node(mutated).strip())
        for statement, name, templates in _PARTS:
            part = getattr(node, name) if isinstance(node, statement) else None
            for template in templates if part is not None else ():
                self._put(part, template)
        if isinstance(node, _DROPPED):
            self._put(node, "pass")

    def _put(self, node: libcst.CSTNode, template: str) -> None:
        span = self.get_metadata(ByteSpanPositionProvider, node, None)
        if span is not None:
            place = slice(span.start, span.start + span.length)
            self.found.append((place, template.replace("{}", self._source[place].decode())))


def _is_skipped_call(node: libcst.CSTNode) -> bool:
    """Tell of calls in which any change raises at once, and of log lines."""
    if not isinstance(node, libcst.Call):
        return False
    if isinstance(node.func, libcst.Attribute):
        return _name_of(node.func.value) == "logger"
    return _name_of(node.func) in ("len", "isinstance")


def _is_said(node: libcst.CSTNode) -> bool:
    """Tell of docstrings and of the logger."""
    if isinstance(node, libcst.Assign):
        return _name_of(node.targets[0].target) == "logger"
    return isinstance(node, libcst.Expr) and isinstance(node.value, libcst.SimpleString)


def _name_of(node: libcst.CSTNode) -> str:
    return node.value if isinstance(node, libcst.Name) else ""


def find_mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module once; what parses as the original does is none."""
    wrapper = MetadataWrapper(libcst.parse_module(source))
    raw = source.encode()
    sites = _Sites(raw)
    wrapper.visit(sites)
    seen = {ast.dump(ast.parse(source))}
    for place, put in sites.found:
        code = (raw[: place.start] + put.encode() + raw[place.stop :]).decode()
        try:
            meaning = ast.dump(ast.parse(code))
        except SyntaxError:
            continue
        if meaning not in seen:
            seen.add(meaning)
            yield Mutant(*_describe(source, code), code)


def _describe(before: str, after: str) -> tuple[int, str]:
    """Give the first changed line's number, and the lines before and after the change."""
    old, new = before.splitlines(), after.splitlines()
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [code for code in opcodes if code[0] != "equal"]
    first, last = changed[0], changed[-1]
    sides = old[first[1] : last[2]], new[first[3] : last[4]]
    return first[1] + 1, " → ".join(" ".join(map(str.strip, lines)) for lines in sides)
