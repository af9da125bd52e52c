"""Purges as sealed records: a tag, and a number above those of all its earlier purges.

A record lies in a table of the store, under the digest of its tag. It is sealed under that digest, so that nobody
without the secret can make one, or move one to another tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.key import DIGEST_BYTES, Digest
from sayonce.core.outcome import Refusal
from sayonce.errors import InvalidRequest

MAX_TAG_BYTES: Final = 1_200
"""A voice's name of 256 characters, in UTF-8, and the name of its kind of tag."""
MAX_TAGS: Final = 64
"""Of one entry, and of one call."""
_FOREVER: Final = float(2**62)

Record = tuple[str, str, int]
"""Namespace, tag and number."""


class PurgeRecords:
    """Makes and reads the records of one namespace; ``key`` digests a document within it."""

    def __init__(self, sealer: Sealer, namespace: str, key: Callable[[Any], Digest]) -> None:
        self._sealer = sealer
        self._namespace = namespace
        self._key = key

    def field(self, tag: str) -> str:
        """Return where the record of a tag lies in the table."""
        return self._key(["purge", tag]).hex()

    def sealed(self, tag: str, number: int, moment: float) -> bytes:
        """Return the record of a purge."""
        body = msgspec.msgpack.encode((self._namespace, tag, number))
        entry = Entry(key=bytes.fromhex(self.field(tag)), body=body, media_type="", created=moment, expires=_FOREVER)
        return self._sealer.seal(entry)

    def read(self, field: str, sealed: bytes) -> tuple[str, int] | None:
        """Return tag and number of a record; None for those of other namespaces.

        Raises:
            Refused: it is no record of ours, or not one of this field.

        """
        try:
            body = self._sealer.open(_digest(field), sealed).body
            namespace, tag, number = msgspec.msgpack.decode(body, type=Record)
        except msgspec.DecodeError:
            raise Refused(Refusal.HEADER) from None
        if namespace != self._namespace:
            return None
        if self.field(tag) != field:
            raise Refused(Refusal.SEAL)
        return tag, number


def check_tags(tags: Iterable[str], param: str = "tags") -> tuple[str, ...]:
    """Check that tags are few and short.

    Raises:
        InvalidRequest: saying what is allowed.

    """
    checked = tuple(tags)
    if len(checked) > MAX_TAGS:
        raise InvalidRequest(f"there may be at most {MAX_TAGS} tags, not {len(checked)}", param=param)
    for tag in checked:
        if not tag or len(tag) > MAX_TAG_BYTES or len(tag.encode(errors="surrogatepass")) > MAX_TAG_BYTES:
            raise InvalidRequest(f"a tag has 1 to {MAX_TAG_BYTES} bytes, and not {len(tag)} characters", param=param)
    return checked


def _digest(field: str) -> bytes:
    try:
        digest = bytes.fromhex(field)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES or digest.hex() != field:
        raise Refused(Refusal.FOREIGN)
    return digest
