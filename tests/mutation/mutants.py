"""The mutants of a module: its source with one small change each.

Most operators are mutmut's. Its runner would not do: it mutates functions alone, and no decorated ones, so no table, no
constant and no property, and calls all of them through trampolines, which lengthen the lives that some tests measure.
Texts of messages and logs, annotations and assertions are left as they are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_assignment, operator_string

LEFT_ALONE = (
    m.Annotation()
    | m.Assert()
    | m.Decorator()
    | m.Call(func=m.Attribute(value=m.Name("log")))
    | m.Call(func=m.OneOf(*map(m.Name, ("len", "isinstance", "cast", "TypeVar"))))
)


@dataclass(frozen=True)
class Mutant:
    """A changed module, named by what is changed and not by where; a test must run ``lines`` to notice it."""

    path: str
    name: str
    lines: frozenset[int]
    source: str


@dataclass(frozen=True, eq=False)
class Candidate:
    """What can be changed; ``scope`` is the class or function that it is in."""

    path: str
    scope: str
    lines: frozenset[int]
    _module: cst.Module
    _node: cst.CSTNode
    _new: cst.CSTNode

    def mutant(self) -> Mutant:
        """Make the change, which takes its time."""
        changed = cst.ensure_type(self._module.deep_replace(self._node, self._new), cst.Module).code
        name = f"{self.path}: {self.scope}: {difference(self._module.code, changed)}"
        return Mutant(self.path, name, self.lines, changed)


def assigned(node: cst.Assign | cst.AnnAssign) -> Iterable[cst.CSTNode]:
    """Assign None, except in place of a literal, which has a change of its own."""
    literal = node.value is None or m.matches(
        node.value, m.Integer() | m.Float() | m.SimpleString() | m.Name("True") | m.Name("False")
    )
    return [] if literal else operator_assignment(node)


def one_string(node: cst.BaseString) -> Iterable[cst.CSTNode]:
    """Change a name or bytes; a text with a space in it is written for people."""
    for_people = m.matches(node, m.SimpleString(value=m.MatchRegex("[rR]?[\"'].* .*")))
    return [] if for_people else list(operator_string(node))[:1]


def condition(node: cst.If) -> Iterable[cst.CSTNode]:
    return [
        node.with_changes(test=cst.Name(value))
        for value in ("True", "False")
        if not m.matches(node.test, m.Name(value))
    ]


def statement(node: cst.SimpleStatementLine) -> Iterable[cst.CSTNode]:
    if m.matches(node, m.SimpleStatementLine([m.Raise() | m.Del() | m.Expr(m.Call() | m.Await())])):
        yield node.with_changes(body=[cst.Pass()])


def returned(node: cst.Return) -> Iterable[cst.CSTNode]:
    if node.value and not m.matches(node.value, m.OneOf(*map(m.Name, ("None", "True", "False")))):
        yield node.with_changes(value=cst.Name("None"))


OPERATORS = (
    *(
        (kind, operator)
        for kind, operator in mutation_operators
        if operator not in {operator_assignment, operator_string}
    ),
    (cst.Assign, assigned),
    (cst.AnnAssign, assigned),
    (cst.BaseString, one_string),
    (cst.If, condition),
    (cst.SimpleStatementLine, statement),
    (cst.Return, returned),
)


class Changes(cst.CSTVisitor):
    """Collects each changed node beside its original."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, frozenset[int], str]] = []
        self._scopes: list[str] = []
        self._raised = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, LEFT_ALONE) or is_log(node):
            return False
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                self.found += [
                    (node, new, self._lines(node), ".".join(self._scopes))
                    for new in operator(node)
                    if self._counts(node, new, operator)
                ]
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._scopes.append(node.name.value)
        self._raised += isinstance(node, cst.Raise)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._scopes.pop()
        self._raised -= isinstance(original_node, cst.Raise)

    def _counts(self, node: cst.CSTNode, new: cst.CSTNode, operator: object) -> bool:
        """Whether more changes than the text of a message."""
        if not self._raised:
            return True
        if operator is operator_arg_removal:
            return bool(new.args) and new.args[0] is node.args[0]
        return not isinstance(node, cst.BaseString)

    def _lines(self, node: cst.CSTNode) -> frozenset[int]:
        span = self.get_metadata(PositionProvider, node.test if isinstance(node, cst.If) else node)
        return frozenset(range(span.start.line, span.end.line + 1))


def is_log(node: cst.CSTNode) -> bool:
    return m.matches(node, m.SimpleStatementLine([m.Expr(m.Call(func=m.Attribute(value=m.Name("log"))))]))


def candidates(path: str, source: str) -> list[Candidate]:
    """Return what can be changed in a module, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    changes = Changes()
    wrapper.visit(changes)
    return [Candidate(path, scope, lines, wrapper.module, node, new) for node, new, lines, scope in changes.found]


def difference(source: str, changed: str) -> str:
    lines = list(difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm=""))[3:]
    return " → ".join(" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
