"""The object, the closure or the partial that a function is bound to, and computes with besides its arguments.

A part with an exact identity is in the key of every call. Of anything else, such as a model, one name stands for one.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from sayonce.core.key import canonical
from sayonce.errors import Unkeyable
from sayonce.features.keys import canonical_value

_FUNCTIONS: Final = (FunctionType, MethodType, BuiltinFunctionType, functools.partial, staticmethod)
_REBOUND_ONLY: Final = frozenset((str, bytes, bool, int, float, type(None)))
"""Types of which no value changes in place: a variable that holds one is read again at each call, at no cost."""


class Bound:
    """The parts that one function is bound to; ``function`` None is bound to nothing."""

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self.name = "" if function is None else qualified_name(function)
        self._known: list[Any] = []
        """Which function it is: names and code, and the very objects that have no exact identity."""
        self._fixed: dict[str, Any] = {}
        self._cells: dict[str, CellType] = {}
        if function is not None:
            self._collect(function, "", [])

    def same(self, other: Bound) -> bool:
        """Whether equal keys mean equal values: the same code, bound to the same objects where they are not keyed."""
        if len(self._known) != len(other._known):
            return False
        pairs = zip(self._known, other._known, strict=True)
        return all(one is another or (type(one) is type(another) is tuple and one == another) for one, another in pairs)

    def document(self) -> dict[str, Any]:
        """Return the part of the key; empty for most functions."""
        if not self._cells:
            return self._fixed
        return self._fixed | {name: written for name, cell in self._cells.items() if (written := _written(cell))}

    def _collect(self, function: Any, path: str, seen: list[Any]) -> None:
        if any(function is each for each in seen):
            return
        seen.append(function)
        if isinstance(function, functools.partial):
            parts: dict[Any, Any] = dict(enumerate(function.args)) | function.keywords
            for part, value in parts.items():
                self._add(value, f"{path}partial.{part}", seen)
            self._collect(function.func, f"{path}partial.func.", seen)
        elif isinstance(function, staticmethod):
            self._collect(function.__func__, path, seen)
        elif isinstance(function, FunctionType):
            self._collect_closure(function, path, seen)
        elif isinstance(function, type | ModuleType):
            self._known.append(function if "<locals>" in qualified_name(function) else (qualified_name(function),))
        else:
            self._collect_method(function, path, seen)

    def _collect_method(self, function: Any, path: str, seen: list[Any]) -> None:
        """Take a method and its object apart; any other callable is an object with one method."""
        owner = getattr(function, "__self__", None) if isinstance(function, _FUNCTIONS) else function
        self._known.append((qualified_name(function),))
        if owner is not None:
            self._add(owner, f"{path}self", seen)
        if isinstance(function, MethodType):
            self._collect(function.__func__, path, seen)

    def _collect_closure(self, function: FunctionType, path: str, seen: list[Any]) -> None:
        self._known.append((qualified_name(function), code_parts(function.__code__)))
        own = _assigned(function.__code__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name in own:
                continue  # the function's own count of something
            self._cells[path + name] = cell
            if content_of(cell) is not None and not _written(cell):
                self._add(cell.cell_contents, path + name, seen)
        if len(seen) > 1:  # of the function itself they are arguments
            for position, value in (*enumerate(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()):
                self._add(value, f"{path}default.{position}", seen)

    def _add(self, value: Any, path: str, seen: list[Any]) -> None:
        if isinstance(value, (*_FUNCTIONS, type, ModuleType)):
            self._collect(value, f"{path}.", seen)
            return
        if _changes_in_place(value):
            self._known.append(value)
            return
        try:
            written = canonical_value(value, path)
            canonical(written)
        except (Unkeyable, RecursionError):
            self._known.append(value)
        else:
            self._fixed[path] = written


def qualified_name(function: Any) -> str:
    """Return the module and the qualified name of a function, a class or a callable object."""
    if isinstance(function, functools.partial):
        return qualified_name(function.func)
    if isinstance(function, ModuleType):
        return function.__name__
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{named.__qualname__}"


def content_of(cell: CellType) -> Any:
    """Return what a variable of a closure holds; None before it has a value."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _written(cell: CellType) -> list[str]:
    value = content_of(cell)
    return [type(value).__name__, repr(value)] if type(value) in _REBOUND_ONLY and value is not None else []


def _changes_in_place(value: Any) -> bool:
    """Whether a value may change in place: many a list is where a function notes something down."""
    record = getattr(type(value), "__dataclass_params__", None)
    return type(value) in (list, dict) or (record is not None and not record.frozen)


def _assigned(code: CodeType) -> set[str]:
    return {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_DEREF"}


def code_parts(code: CodeType) -> tuple[Any, ...]:
    """Return the code of a function without its line numbers, so that two functions of one name can be told apart."""
    constants = tuple(code_parts(each) if inspect.iscode(each) else _constant(each) for each in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


def _constant(value: Any) -> tuple[str, ...]:
    return tuple(sorted(map(repr, value))) if isinstance(value, frozenset) else (type(value).__name__, repr(value))
