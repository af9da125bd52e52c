"""A table of the store with sealed values, each for the one field in which it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.core.counters import Counter
from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.outcome import Refusal

if TYPE_CHECKING:
    from sayonce.cache.cache import Cache

_FOREVER: Final = float(2**62)

Owned = tuple[str, str]
"""An owner, such as a tenant, and a name."""


class SealedTable:
    """The fields and the values of a table, by owners and names; reading and writing the table is the store's work.

    A value that was moved to another field, another table or another namespace does not open.
    """

    def __init__(self, cache: Cache, name: str) -> None:
        self.name = name
        self._cache = cache
        self._sealer = Sealer(cache.secret)

    def field(self, owner: str, name: str) -> str:
        """Return the field of an owner's name."""
        return _field(self._cache.namespace, owner, name)

    def owned(self, field: str) -> Owned | None:
        """Return the owner and the name of a field; None for other namespaces, and, counted, for a foreign field."""
        try:
            found = msgspec.json.decode(field, type=tuple[str, str, str])
        except (msgspec.DecodeError, UnicodeEncodeError):
            found = None
        if found is None or _field(*found) != field:  # a name has one field: another spelling of it says nothing
            self.count(Refusal.FOREIGN)
            return None
        namespace, owner, name = found
        return (owner, name) if namespace == self._cache.namespace else None

    def seal(self, field: str, content: bytes) -> bytes:
        """Return content sealed for one field."""
        key = self._cache.key([self.name, field])
        entry = Entry(key=key, body=content, media_type="", created=self._cache.now(), expires=_FOREVER)
        return self._sealer.seal(entry)

    def open(self, field: str, sealed: bytes) -> bytes | None:
        """Return the content that was sealed for a field; None, counted, for anything else."""
        try:
            return self._sealer.open(self._cache.key([self.name, field]), sealed).body
        except Refused as refused:
            self.count(refused.reason)
            return None

    def count(self, reason: Refusal) -> None:
        """Count a value that is not believed."""
        self._cache.counts.add(Counter.REFUSED_VALUES, reason)


def _field(namespace: str, owner: str, name: str) -> str:
    return msgspec.json.encode((namespace, owner, name)).decode()
