"""The words of an error about a setting: which values it takes, and which value was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import inspect

from sayonce.errors import quoted

Hook = Callable[[type, Any], Any]

_SECRET: Final = frozenset(("security",))
"""The section with secrets: an error does not repeat its values."""
_WORDS: Final[dict[type[inspect.Type], str]] = {
    inspect.BoolType: "true or false",
    inspect.StrType: "a text",
    inspect.VarTupleType: 'a list of texts (in the file: ["a", "b"])',
    inspect.DictType: "a section of its own",
    inspect.StructType: "a section of its own",
}


def wrong_values(value: Any, kind: Any, name: str, hook: Hook | None = None) -> Iterator[tuple[str, str]]:
    """Yield each wrong value within a value: its name, and what it must be.

    Args:
        value: the value that was given; msgspec reports a section's missing and unknown fields.
        kind: the expected type: a Struct, or the type of a Struct's field.
        name: the setting's dotted name.
        hook: msgspec's ``dec_hook`` for our own types; its errors name the expected and the given value.

    """
    for part, part_kind, part_name in _parts(value, kind, name):
        yield from wrong_values(part, part_kind, part_name, hook)
    if isinstance(value, dict | list) and isinstance(value, _container(kind)):
        return
    try:
        msgspec.convert(value, kind, strict=False, dec_hook=hook)
    except msgspec.ValidationError as error:
        words = _words(inspect.type_info(kind))
        given = "what was given" if name.partition(".")[0] in _SECRET else shown(value)
        yield name, f"must be {words}, not {given}" if words else str(error)


def shown(value: Any) -> str:
    """Return a value as TOML writes it; a table or a list is only named, since a part of it may be a password."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return quoted(value) if isinstance(value, str) else quoted(str(value))[1:-1]


def _parts(value: Any, kind: Any, name: str) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(value, dict) and _is_section(kind):
        for field in msgspec.structs.fields(kind):
            if field.name in value:
                yield value[field.name], field.type, f"{name}.{field.name}".lstrip(".")
    elif isinstance(value, dict) and get_origin(kind) is dict:
        for key, part in value.items():
            yield part, get_args(kind)[1], f"{name}.{key}"
    elif isinstance(value, list):
        for listed in (kind, *get_args(kind)):
            if get_origin(listed) is tuple:
                for number, part in enumerate(value):
                    yield part, get_args(listed)[0], f"{name}[{number}]"


def _container(kind: Any) -> tuple[type, ...]:
    """Return the types that hold such a value's parts; each part has an error of its own."""
    if _is_section(kind) or get_origin(kind) is dict:
        return (dict,)
    return (list,) if any(get_origin(listed) is tuple for listed in (kind, *get_args(kind))) else ()


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _words(info: inspect.Type) -> str:
    """Return the expected value in words; an empty text for our own types."""
    match info:
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.IntType() | inspect.FloatType():
            return _number(info)
        case inspect.UnionType(types=types):
            return " or ".join(_words(each) for each in types if not isinstance(each, inspect.NoneType))
    return _WORDS.get(type(info), "")


def _number(info: inspect.IntType | inspect.FloatType) -> str:
    words = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    if info.gt is not None:
        return f"{words} above {info.gt:g}"
    return words if info.ge is None else f"{words} of at least {info.ge:g}"
