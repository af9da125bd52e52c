"""Identity: a canonical document, encoded with its types, digested with keyed BLAKE2b-256.

Two documents have equal digests exactly when they are equal with their types: ``1``, ``1.0``, ``"1"``, ``True`` and
``None`` are five different values, ``{"a": 1}`` and ``{"a": 1, "b": None}`` are two documents, and the order of a
mapping's fields does not matter. Lists and tuples are one type; sets have no place here.

BLAKE2: RFC 7693. Encoding: MessagePack with sorted maps.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any, Final

import msgspec

from sayonce.errors import Unkeyable

DIGEST_BYTES: Final = 32

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_SCALARS: Final = frozenset((str, bytes, bool, int, type(None)))


class Digest(bytes):
    """A 32-byte identity, told apart from bytes that are yet to be digested."""

    __slots__ = ()


class Secret:
    """The operator's secret, and the separate keys drawn from it for digests and for seals.

    Without a secret both are fixed, public keys: digests are then guessable by whoever knows a text, and seals only
    detect accidents.
    """

    __slots__ = ("configured", "digest_key", "seal_key")

    def __init__(self, secret: bytes = b"") -> None:
        self.configured = bool(secret)
        root = blake2b(secret, digest_size=32, person=b"sayonce root").digest()
        self.digest_key = blake2b(key=root, digest_size=32, person=b"sayonce digest").digest()
        self.seal_key = blake2b(key=root, digest_size=32, person=b"sayonce seal").digest()

    def __repr__(self) -> str:
        return f"Secret({'configured' if self.configured else 'default'})"


def canonical(document: Any) -> bytes:
    """Encode a document so that equal documents, and only they, give equal bytes.

    Raises:
        Unkeyable: a value is not a string, bytes, bool, int, finite float, None, or a list or mapping of these.

    """
    _check(document, "document")
    try:
        return _encode(document)
    except (OverflowError, UnicodeEncodeError) as error:
        raise Unkeyable(f"a value cannot be encoded exactly: {error}") from None


def digest(document: Any, secret: Secret) -> Digest:
    """Return the 32-byte identity of a document under a secret."""
    return Digest(blake2b(canonical(document), digest_size=DIGEST_BYTES, key=secret.digest_key).digest())


def derive(parent: bytes, variant: Any) -> Digest:
    """Return the identity of something made from ``parent``'s value alone, such as the same take as MP3."""
    made = blake2b(canonical(variant), digest_size=DIGEST_BYTES, key=parent, person=b"sayonce derive")
    return Digest(made.digest())


def _check(value: Any, path: str) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is float:
        if not math.isfinite(value):
            raise Unkeyable(f"{path} is {value}; a finite number is needed", param=path)
    elif kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise Unkeyable(f"{path} has the field name {name!r}; field names are strings", param=path)
            _check(item, name if path == "document" else f"{path}.{name}")
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]")
    else:
        raise Unkeyable(f"{path} is a {kind.__name__}, which has no exact identity here", param=path)
