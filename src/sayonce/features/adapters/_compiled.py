"""Code without a file, such as a notebook's: the functions of a class as they are compiled, and those that they name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from sayonce.features.bound import code_parts


def compiled(thing: Any) -> list[str]:
    """Return the code of a class or a function, and of what it uses of its own module."""
    found: list[str] = []
    seen: list[Any] = []
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if any(each is other for other in seen):
            continue
        seen.append(each)
        waiting += [base for base in getattr(each, "__mro__", ()) if base.__module__ == thing.__module__]
        for function in _functions(each):
            found.append(repr([function.__qualname__, code_parts(function.__code__)]))
            waiting += _named(function, thing.__module__)
    return sorted(found)


def _functions(thing: Any) -> Iterator[FunctionType]:
    for part in list(vars(thing).values()) if isinstance(thing, type) else [thing]:
        candidates = (part.fget, part.fset) if isinstance(part, property) else (getattr(part, "__func__", part),)
        yield from (inspect.unwrap(each) for each in candidates if isinstance(each, FunctionType))


def _named(function: FunctionType, module: str) -> list[Any]:
    """Return the functions and classes of the same module that a function names."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    used = (function.__globals__.get(name) for name in sorted(names))
    return [each for each in used if isinstance(each, type | FunctionType) and each.__module__ == module]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
