"""Identity: a canonical document, encoded with its types, digested with keyed BLAKE2b-256.

Two documents have equal digests exactly when they are equal with their types: ``1``, ``1.0``, ``"1"``, ``True`` and
``None`` are five different values, so are ``0.0`` and ``-0.0``; ``{"a": 1}`` and ``{"a": 1, "b": None}`` are two
documents, and the order of a mapping's fields does not matter. Lists and tuples are one type; sets have no place here.

BLAKE2: RFC 7693. Encoding: MessagePack with sorted maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from sayonce.errors import Unkeyable, with_article

DIGEST_BYTES: Final = 32

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_SCALARS: Final = frozenset((str, bytes, bool, int, type(None)))
_INTEGERS: Final = range(-(2**63), 2**64)
"""The integers that MessagePack holds."""


class Digest(bytes):
    """A 32-byte identity, told apart from bytes that are yet to be digested."""

    __slots__ = ()


class Secret:
    """The operator's secret, and the separate keys drawn from it: digests, seals, names of bodies, records of flights.

    Without a secret they are fixed, public keys: anybody who knows a text can then guess its digest, and seals only
    detect accidents.
    """

    __slots__ = ("body_key", "configured", "digest_key", "flight_key", "seal_key")

    def __init__(self, secret: bytes = b"") -> None:
        self.configured = bool(secret)
        root = blake2b(secret, digest_size=32, person=b"sayonce root").digest()
        self.digest_key = blake2b(key=root, digest_size=32, person=b"sayonce digest").digest()
        self.seal_key = blake2b(key=root, digest_size=32, person=b"sayonce seal").digest()
        self.body_key = blake2b(key=root, digest_size=32, person=b"sayonce body").digest()
        self.flight_key = blake2b(key=root, digest_size=32, person=b"sayonce flight").digest()

    def __repr__(self) -> str:
        return f"Secret({'configured' if self.configured else 'default'})"


def canonical(document: Any) -> bytes:
    """Encode a document so that equal documents, and only they, give equal bytes.

    Raises:
        Unkeyable: a value is not a string, bytes, bool, int of 64 bits, finite float, None, or a list or mapping of
            these; the message names where it stands.

    """
    try:
        if _exact(document):
            return _encode(document)
    except (OverflowError, UnicodeEncodeError):
        pass  # an integer or a text within it; found below
    except RecursionError:
        raise Unkeyable("the document is nested too deeply") from None
    raise _fault(document)


def digest(document: Any, secret: Secret) -> Digest:
    """Return the 32-byte identity of a document under a secret."""
    return Digest(blake2b(canonical(document), digest_size=DIGEST_BYTES, key=secret.digest_key).digest())


def derive(parent: bytes, variant: bytes) -> Digest:
    """Return the identity of something made from ``parent``'s value alone, such as the same take as MP3.

    ``variant`` is the canonical form of what was done to it.
    """
    return Digest(blake2b(variant, digest_size=DIGEST_BYTES, key=parent, person=b"sayonce derive").digest())


def _exact(value: Any) -> bool:
    """Whether types and floats are keyable; without building paths, as nearly every document is."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        for name in value:
            if type(name) is not str:
                return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return False
    for item in value:  # noqa: SIM110 (scalars without a call: this runs for every request)
        if type(item) not in _SCALARS and not _exact(item):
            return False
    return True


def _fault(document: Any) -> Unkeyable:
    """Return the error for the first value that cannot be keyed, naming where it stands."""
    path, what = next((path, what) for path, value in _walk(document, "") if (what := _wrong(value)))
    return Unkeyable(f"{path or 'the document'} is {what}", param=path or None)


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if type(value) is dict:
        for name, item in value.items():
            yield from _walk(item, f"{path}.{name}" if path else name)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]")


def _wrong(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return "text with a lone surrogate, which is no character" if _has_surrogate(value) else None
    if kind is int:
        return None if value in _INTEGERS else "an integer beyond 64 bits"
    if kind is float:
        return None if math.isfinite(value) else f"{value}; a finite number is needed"
    if kind is dict:
        return None if all(map(_is_name, value)) else "a mapping with a field name that is no string of characters"
    return (
        None
        if kind in (bytes, bool, type(None), list, tuple)
        else f"{with_article(kind.__name__)}, which has no exact identity"
    )


def _is_name(name: Any) -> bool:
    return type(name) is str and not _has_surrogate(name)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
