"""The records by which instances tell one another of a computation, sealed under the secret.

::

    owner of a lease   nonce (16 bytes), MAC (16 bytes), in hexadecimal digits
    record             MAC (16 bytes), content

Both MACs are keyed BLAKE2b-128 under the secret's flight key. A record's binds the key, the owner (and so this one
flight), the part that it belongs to, and its position in that part: no record can be taken for another flight's, moved, repeated
or left out. Without a secret they detect accidents alone, as the seals of entries do.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from sayonce.core.audio_start import BodyForm
from sayonce.core.envelope import Entry, Refused
from sayonce.core.epochs import Stamp
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal

_NONCE_BYTES: Final = 16
CHALLENGE_BYTES: Final = 16
_MAC_BYTES: Final = 16
CHALLENGE_RECORD_BYTES: Final = _MAC_BYTES + CHALLENGE_BYTES
OWNER_CHARACTERS: Final = 2 * (_NONCE_BYTES + _MAC_BYTES)


class Head(msgspec.Struct, array_like=True, frozen=True):
    """The record before the first chunk. ``stamp`` holds the epochs that were known when the computation began."""

    created: float
    stamp: Stamp
    about: BodyForm


class Ending(msgspec.Struct, array_like=True, frozen=True):
    """The record after the last chunk: how many bytes there were in all, and of which entry.

    ``entry`` is that entry itself where the store does not have it, and was told in records of its own.
    """

    relayed_bytes: int
    body_digest: bytes
    entry: Entry | None = None

    @classmethod
    def of(cls, relayed_bytes: int, entry: Entry) -> Ending:
        return cls(relayed_bytes, _body_digest(entry))

    def fits(self, entry: Entry) -> bool:
        """Whether this is the entry that was relayed."""
        return compare_digest(self.body_digest, _body_digest(entry))


class FlightSeal:
    """Makes and opens the records of one flight: of a key, under a lease's owner."""

    def __init__(self, secret: Secret, key: bytes, owner: str) -> None:
        self._bound = blake2b(digest_size=_MAC_BYTES, key=secret.flight_key, person=b"sayonce record")
        self._bound.update(_framed(key) + _framed(owner.encode()))

    def seal(self, part: str, position: int, content: bytes) -> bytes:
        """Return the record at a position of a part."""
        return self._mac(part, position, content) + content

    def open(self, part: str, position: int, record: bytes) -> bytes:
        """Return the content of a record.

        Raises:
            Refused: it is not the record at this position of this part.

        """
        mac, content = record[:_MAC_BYTES], record[_MAC_BYTES:]
        if not compare_digest(mac, self._mac(part, position, content)):
            raise Refused(Refusal.SEAL)
        return content

    def _mac(self, part: str, position: int, content: bytes) -> bytes:
        mac = self._bound.copy()
        mac.update(_framed(part.encode()) + position.to_bytes(8))
        mac.update(content)
        return mac.digest()


def encoded(entry: Entry) -> bytes:
    """Return an entry as it is told in records; its key may be any kind of bytes, of which MessagePack knows one."""
    return msgspec.msgpack.encode(msgspec.structs.replace(entry, key=bytes(entry.key)))


def new_owner(secret: Secret, key: bytes) -> str:
    """Return a name for the holder of a lease that only an instance with the secret can make."""
    nonce = os.urandom(_NONCE_BYTES)
    return (nonce + _owner_mac(secret, key, nonce)).hex()


def is_genuine(secret: Secret, key: bytes, owner: str) -> bool:
    """Whether an instance with the secret made this name of a holder, for this key."""
    if len(owner) != OWNER_CHARACTERS or not owner.isascii():
        return False
    try:
        made = bytes.fromhex(owner)
    except ValueError:
        return False
    # Compared as the digits are written: an owner has one spelling.
    return made.hex() == owner and compare_digest(made[_NONCE_BYTES:], _owner_mac(secret, key, made[:_NONCE_BYTES]))


def _owner_mac(secret: Secret, key: bytes, nonce: bytes) -> bytes:
    return blake2b(nonce + key, digest_size=_MAC_BYTES, key=secret.flight_key, person=b"sayonce lease").digest()


def _framed(field: bytes) -> bytes:
    return len(field).to_bytes(4) + field


def _body_digest(entry: Entry) -> bytes:
    return blake2b(entry.body, digest_size=32).digest()
