"""The sealed envelope: a value that cannot be taken for another one's.

::

    offset  bytes  what
    0       3      magic "SYO"
    3       1      version, 1
    4       4      header length H, big-endian
    8       H      header, MessagePack array (``Header``)
    8+H     B      body
    8+H+B   12     nonce
    20+H+B  16     tag: AES-256-GCM over the nonce, with everything before the nonce as associated data

A pointer has version 2 and, instead of the body, an address of 36 bytes between the length and the header: it says where
the body lies, and its digest, so that the seal holds a body outside as well as one inside.

The GCM key is BLAKE2b-256 of the entry's 32-byte key digest, under the secret's seal key, so a value opens only under
the key that it was sealed for. Authentication only: the body is not encrypted. See ``docs/format.md``.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal

MAGIC: Final = b"SYO"
VERSION: Final = 1
OUTSIDE: Final = 2
"""The version of a pointer: an envelope with its body in a body store."""
_PREFIX: Final = struct.Struct(">3sBI")
_NONCE_BYTES: Final = 12
_SEAL_BYTES: Final = _NONCE_BYTES + 16
ADDRESS_BYTES: Final = 36
HEAD_BYTES: Final = _PREFIX.size + ADDRESS_BYTES
"""How much of the beginning of an envelope tells whether it is a pointer, and to what."""
_CIPHERS: Final = 1024
"""Ciphers kept at hand."""
OVERHEAD_BYTES: Final = 256
"""Counted for each entry beyond its body: header, seal and the structures that hold it."""


Sealed = bytes | bytearray | memoryview


class Refused(Exception):
    """Stored bytes are not the value of this key."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Header(msgspec.Struct, array_like=True, frozen=True):
    """All that is known of a value besides its body. Fields are only ever added at the end, with a default."""

    media_type: str
    created: float
    expires: float
    compute_seconds: float
    body_bytes: int
    tags: tuple[tuple[str, int], ...] = ()
    about: dict[str, Any] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A value with everything that is known of it.

    ``created`` and ``expires`` are seconds since the Unix epoch; ``compute_seconds`` is what making it cost;
    ``tags`` are (tag, epoch) pairs; ``about`` holds small facts of the value's own kind, for a clip ``sample_rate_hz``,
    ``channels``, ``frames``, ``engine``, ``model``, ``revision``.
    """

    key: bytes
    body: bytes
    media_type: str
    created: float
    expires: float
    compute_seconds: float = 0.0
    tags: tuple[tuple[str, int], ...] = ()
    about: dict[str, Any] = {}

    @property
    def size_bytes(self) -> int:
        return len(self.body) + OVERHEAD_BYTES


class Pointer(msgspec.Struct, frozen=True):
    """A value with its body outside: all that is known of it, and the address of the body."""

    key: bytes
    address: bytes
    header: Header

    @property
    def expires(self) -> float:
        return self.header.expires

    @property
    def body_bytes(self) -> int:
        return self.header.body_bytes

    def entry(self, body: bytes) -> Entry:
        return _entry(self.key, self.header, body)


class Sealer:
    """Seals entries into bytes and opens bytes into entries, under one secret."""

    def __init__(self, secret: Secret) -> None:
        # What is read again and again has its cipher at hand: to make one takes as long as to use it on a kilobyte. Most
        # that is new is not read again, and a cipher takes 3 kB.
        self._new_cipher = partial(_cipher, secret.seal_key)
        self._cipher = lru_cache(_CIPHERS)(self._new_cipher)

    def seal(self, entry: Entry, *, address: bytes = b"", nonce: bytes | None = None) -> bytes:
        """Return the envelope of an entry, or a pointer if its body is at an ``address``.

        ``nonce`` is for golden vectors only.
        """
        header = msgspec.msgpack.encode(
            Header(
                entry.media_type,
                entry.created,
                entry.expires,
                entry.compute_seconds,
                len(entry.body),
                entry.tags,
                entry.about,
            )
        )
        nonce = nonce or os.urandom(_NONCE_BYTES)
        parts = (address, header) if address else (header, entry.body)
        sealed = b"".join((_PREFIX.pack(MAGIC, OUTSIDE if address else VERSION, len(header)), *parts))
        return b"".join((sealed, nonce, self._new_cipher(entry.key).encrypt(nonce, b"", sealed)))

    def open(self, key: bytes, sealed: Sealed) -> Entry:
        """Return the entry that was sealed for this key.

        Raises:
            Refused: with the reason; the caller counts it and treats it as a miss.

        """
        found = self.unseal(key, sealed)
        if isinstance(found, Pointer):
            raise Refused(Refusal.UNREACHABLE)
        return found

    def unseal(self, key: bytes, sealed: Sealed) -> Entry | Pointer:
        """Return what was sealed for this key: an entry, or a pointer to where its body lies.

        Raises:
            Refused: as ``open``.

        """
        if len(sealed) < _PREFIX.size + _SEAL_BYTES:
            raise Refused(Refusal.TRUNCATED)
        magic, version, header_bytes = _PREFIX.unpack_from(sealed)
        if magic != MAGIC:
            raise Refused(Refusal.FOREIGN)
        if version not in (VERSION, OUTSIDE):
            raise Refused(Refusal.VERSION)
        view = memoryview(sealed)
        end = len(sealed) - _SEAL_BYTES
        nonce, tag = view[end : end + _NONCE_BYTES], view[end + _NONCE_BYTES :]
        try:
            self._cipher(key).decrypt(nonce, tag, view[:end])
        except InvalidTag:
            raise Refused(Refusal.SEAL) from None
        return _unpacked(key, view[_PREFIX.size : end], header_bytes, outside=version == OUTSIDE)


def _cipher(seal_key: bytes, key: bytes) -> AESGCM:
    """Return what seals the value of one key."""
    return AESGCM(blake2b(key, digest_size=32, key=seal_key).digest())


_decode_header = msgspec.msgpack.Decoder(Header).decode


def _unpacked(key: bytes, view: memoryview, header_bytes: int, *, outside: bool) -> Entry | Pointer:
    address_bytes = ADDRESS_BYTES if outside else 0
    header_end = address_bytes + header_bytes
    try:
        header = _decode_header(view[address_bytes:header_end])
    except (msgspec.MsgspecError, RecursionError):  # nested without end, which only others can have made
        raise Refused(Refusal.HEADER) from None
    body = bytes(view[header_end:])
    if len(body) != (0 if outside else header.body_bytes):
        raise Refused(Refusal.HEADER)
    return Pointer(key, bytes(view[:address_bytes]), header) if outside else _entry(key, header, body)


def _entry(key: bytes, header: Header, body: bytes) -> Entry:
    return Entry(
        key=key,
        body=body,
        media_type=header.media_type,
        created=header.created,
        expires=header.expires,
        compute_seconds=header.compute_seconds,
        tags=header.tags,
        about=header.about,
    )


def address_in(head: bytes) -> bytes | None:
    """Return the address that a pointer's first ``HEAD_BYTES`` bytes name, unverified; None of anything else."""
    is_pointer = len(head) >= HEAD_BYTES and _PREFIX.unpack_from(head)[:2] == (MAGIC, OUTSIDE)
    return head[_PREFIX.size : HEAD_BYTES] if is_pointer else None
