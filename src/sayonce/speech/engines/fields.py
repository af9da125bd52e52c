"""Which fields of a request reach the engine: those that it declares, and those that it takes undeclared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sayonce.core.key import canonical
from sayonce.errors import InvalidRequest, quoted
from sayonce.speech.engines.bounds import check_passed_on
from sayonce.speech.engines.copies.names import names_a_copy
from sayonce.speech.engines.parameters import Parameter

if TYPE_CHECKING:
    from sayonce.speech.engines.declaration import Declaration

GATEWAY_FIELDS: Final = frozenset(
    ("model", "input", "voice", "response_format", "sample_rate", "stream", "stream_format")
)
REFERENCE_FIELDS: Final = frozenset(("ref_audio", "references"))
"""Where a reference may be sent along."""
_OF_REFERENCES: Final = REFERENCE_FIELDS | {"ref_text"}
CLONING_FIELDS: Final = GATEWAY_FIELDS | _OF_REFERENCES

TOLERATED: Final = {name: Parameter(name=name, type=str) for name in ("instructions", "user")}
"""Fields of OpenAI's that its clients send to whatever engine; one that does not know them leaves them out."""
_ADDRESS: Final = re.compile(r"\s*(?:https?|ftp|file|s3|gs)://", re.IGNORECASE)


def read_parameters(fields: Mapping[str, Any], engine: Declaration) -> tuple[dict[str, Any], list[str]]:
    """Return every declared parameter, filled in, and what the engine takes undeclared, as it is; then what is left out.

    Raises:
        InvalidRequest: a field is unknown, of the wrong type or out of range; ``param`` names it.

    """
    given = fields
    if engine.defaults:
        given = {**fields, **{name: value for name, value in engine.defaults.items() if fields.get(name) is None}}
    parameters = {declared.name: declared.accept(given.get(declared.name)) for declared in engine.parameters}
    consumed = CLONING_FIELDS if engine.clones else GATEWAY_FIELDS
    left_out: list[str] = []
    for name, value in given.items():
        if name in consumed or name in parameters or name == engine.also_voice:
            continue
        if name in engine.drop or (name in TOLERATED and not engine.passes_unknown):
            if _says_something(name, value):
                left_out.append(name)
        elif engine.passes_unknown:
            check_undeclared(name, value)
            parameters[name] = value
        elif value is not None and name in _OF_REFERENCES:
            raise InvalidRequest(
                f"{engine.name!r} takes no {quoted(name)}: it cannot speak in the voice of a reference", param=name
            )
        elif value is not None:
            taken = ", ".join(parameters) or "none"
            raise InvalidRequest(f"{engine.name!r} takes no {quoted(name)}; its parameters are: {taken}", param=name)
    return parameters, sorted(left_out)


def _says_something(name: str, value: Any) -> bool:
    """Whether a field that is left out has anything to leave out; its type and its length are checked all the same."""
    if name in TOLERATED:
        TOLERATED[name].accept(value)
    for text in _texts(value):
        check_passed_on(name, text)
    return value is not None and value != ""


def check_undeclared(name: str, value: Any) -> None:
    """Check that a field which is handed on as it is means the same each time, and can be keyed.

    Raises:
        InvalidRequest: it holds an address: what is behind one is heard and not in the key. Or it names a copy of an
            uploaded voice, which may be another tenant's.

    """
    canonical({name: value})
    for text in _texts(value):
        check_passed_on(name, text)
        if _ADDRESS.match(text):
            raise InvalidRequest(
                f"{quoted(name)} holds the address {quoted(text)}; what is behind it may change, so send the audio "
                "itself, as a data URL",
                param=name,
            )
        if names_a_copy(text):
            raise InvalidRequest(f"{quoted(name)} holds {quoted(text)}, a name that only Sayonce uses", param=name)


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            yield each
        elif type(each) is list:
            waiting += each
        elif type(each) is dict:
            waiting += (*each, *each.values())
