"""Check the fields that an engine's section adds to requests, or leaves out of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from sayonce.errors import ConfigError, InvalidRequest
from sayonce.speech.engines.bounds import check_shape
from sayonce.speech.engines.fields import CLONING_FIELDS, check_undeclared
from sayonce.speech.engines.parameters import read_value

if TYPE_CHECKING:
    from sayonce.speech.engines.declaration import Declaration

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names that can stand in a header's list."""
_SECRET: Final = re.compile(r"api[_.-]?key|secret|passw(or)?d|authorization|credential|(^|[_.-])token$", re.IGNORECASE)
_ALWAYS_HEARD: Final = "speed"


def checked_drop(engine: Declaration, names: Collection[str]) -> frozenset[str]:
    """Return the fields to leave out.

    Raises:
        ConfigError: one has a meaning that may not be left out.

    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise _wrong(engine, "drop", f"{name!r} must be the name of a field: letters, digits, '_', '.' and '-'")
        if name in CLONING_FIELDS or name == engine.also_voice:
            raise _wrong(engine, "drop", f"{name!r} is a field of the gateway's own; it is never passed on as it is")
        if name == _ALWAYS_HEARD:
            raise _wrong(
                engine, "drop", f"{name!r} changes what is heard: it is spoken as it was asked for, or refused"
            )
    return frozenset(names)


def checked_defaults(engine: Declaration, fields: Mapping[str, Any], drop: Collection[str]) -> dict[str, Any]:
    """Return the fields to add, those that the engine declares in their types.

    Raises:
        ConfigError: one is no field of the engine's, or could not be keyed.

    """
    declared = {parameter.name: parameter for parameter in engine.parameters}
    checked = dict(fields)
    try:
        check_shape(fields)
        for name, value in fields.items():
            _check_name(engine, name, drop)
            if name not in declared:
                check_undeclared(name, value)
                continue
            text = type(value) is str and declared[name].type is not str  # the environment has only strings
            checked[name] = declared[name].accept(read_value(value, declared[name]) if text else value)
    except InvalidRequest as error:
        raise _wrong(engine, "defaults", error.message) from None
    return checked


def _check_name(engine: Declaration, name: str, drop: Collection[str]) -> None:
    where = f"defaults.{name}"
    if name in CLONING_FIELDS or name == engine.also_voice:
        raise _wrong(engine, where, "is a field of the gateway's own; each request gives it, or leaves it out")
    if name in drop:
        raise _wrong(engine, where, f"is in engines.{engine.name}.drop, too: say it in one of them")
    if _SECRET.search(name):
        raise _wrong(engine, where, "looks like a secret, and would be part of keys; a server's key is api_key_env")


def _wrong(engine: Declaration, option: str, what: str) -> ConfigError:
    return ConfigError(f"engines.{engine.name}.{option}: {what}")
