"""The contract of stores: entries under 32-byte digests, kept in sealed envelopes, with a time to live.

A store raises ``StoreError`` when it cannot answer and ``Refused`` when the bytes that it holds are not the key's value. Neither
reaches a caller: ``sayonce.cache.guard`` is the one place that turns them into "no answer from the cache".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from sayonce.core.clock import Clock
from sayonce.core.envelope import HEAD_BYTES, Entry, Pointer, Refused, Sealed, Sealer, address_in
from sayonce.core.outcome import Refusal
from sayonce.errors import StoreError
from sayonce.stores.leases import Leases
from sayonce.stores.records import Records

if TYPE_CHECKING:
    from sayonce.stores.blobs.store import BlobStore

T = TypeVar("T")


class StoreStats(msgspec.Struct, frozen=True):
    """Figures of a store; ``None`` where it cannot tell cheaply."""

    entries: int | None
    used_bytes: int | None
    max_bytes: int | None


TOTALS: Final = "totals"
"""The table of the lasting counters, where a store has no counters of its own."""


class Store(ABC):
    """The contract that every tier keeps. Any method may raise ``StoreError``; all are called from one event loop.

    A backend writes the abstract methods. The others are written here, on top of them; a backend overrides one that its
    server does in a single step.
    """

    name: str
    """The tier's name in ``Cache-Status`` and counters: ``memory``, ``sqlite``, ``redis``."""
    stale_seconds: float = 0.0
    """How much longer than its time to live an entry is kept."""
    unread: Mapping[str, str] = MappingProxyType({})
    """Tables that are beyond their bounds and so not read, with the reason."""
    leases: Leases | None = None
    """The leases on computations; None when only one process has the store."""
    records: Records | None = None
    """The records by which processes share a computation; None when they do not share any."""

    @property
    def incomplete(self) -> bool:
        """Whether a damaged file was given up, and not all names in its tables could be taken over."""
        return False

    def kept_until(self, entry: Entry | Pointer) -> float:
        """Return when an entry goes: seconds since the Unix epoch."""
        return entry.expires + self.stale_seconds

    @abstractmethod
    async def get(self, key: bytes) -> Entry | None:
        """Return the key's entry, or None when there is none, or when it is kept no longer.

        Raises:
            Refused: the stored bytes are not this key's value.

        """

    @abstractmethod
    async def put(self, entry: Entry) -> bool:
        """Keep an entry until ``kept_until`` and return whether it is kept; the write is atomic."""

    @abstractmethod
    async def delete(self, key: bytes) -> bool:
        """Remove a key and return whether it was there."""

    @abstractmethod
    async def clear(self) -> int:
        """Remove every entry (counters and tables stay) and return how many there were."""

    @abstractmethod
    async def stats(self) -> StoreStats: ...

    @abstractmethod
    async def read_field(self, table: str, field: str) -> bytes | None:
        """Return a value of a table: small records that are kept for good, never evicted, and counted in no figure."""

    @abstractmethod
    async def read_table(self, table: str) -> dict[str, bytes]:
        """Return a whole table."""

    @abstractmethod
    async def swap_field(self, table: str, field: str, old: bytes | None, new: bytes | None) -> bool:
        """Write a value into a table if the present one is ``old``, atomically, and return whether it was.

        None as ``old`` means that there is none; as ``new``, that the field is removed.
        """

    async def write_field(self, table: str, field: str, value: bytes) -> None:
        """Write a value into a table."""
        await self._change_field(table, field, lambda _: value)

    async def remove_field(self, table: str, field: str) -> bool:
        """Remove a field of a table and return whether it was there."""
        return await self._change_field(table, field, lambda _: None) is not None

    async def count(self, deltas: Mapping[str, float]) -> None:
        """Add to the store's lasting counters, atomically."""
        for name, delta in deltas.items():
            await self._change_field(TOTALS, name, partial(_added, delta))

    async def totals(self) -> dict[str, float]:
        """Return the store's lasting counters."""
        return {name: float(total) for name, total in (await self.read_table(TOTALS)).items()}

    async def _change_field(
        self, table: str, field: str, change: Callable[[bytes | None], bytes | None]
    ) -> bytes | None:
        """Write what ``change`` makes of a field's value, again if another writer was faster; return the old value."""
        while True:
            old = await self.read_field(table, field)
            if await self.swap_field(table, field, old, change(old)):
                return old

    async def open(self) -> None:  # noqa: B027 (not every store has something to open)
        """Create files, or check settings, at once; the first call finds out that a server is down."""

    async def close(self) -> None:  # noqa: B027
        """Release files and connections; idempotent."""


class SealedStore(Store):
    """A store of bytes: seals entries into envelopes and opens them; a backend reads, writes and lists bytes.

    With ``bodies``, large bodies lie outside, and the store is the index of them. ``get`` is then ``find`` and
    ``fetch``, and ``put`` is ``put_body`` and ``write``: a caller with a budget for each calls them one by one.
    """

    bodies: BlobStore | None = None
    layout: int = 1
    """The version of what lies in it, and where: raised when releases that know the former one must not touch it."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    def get(self, key: bytes) -> Coroutine[Any, Any, Entry | None]:
        return self._read(key, partial(self._open, key)) if self.bodies is None else self._get(key)

    async def _get(self, key: bytes) -> Entry | None:
        found = await self.find(key)
        return await self.fetch(found) if isinstance(found, Pointer) else found

    async def put(self, entry: Entry) -> bool:
        return self.kept_until(entry) > self._clock() and await self.write(entry, await self.put_body(entry))

    def find(self, key: bytes) -> Coroutine[Any, Any, Entry | Pointer | None]:
        """Return the entry, or the pointer to its body."""
        return self._read(key, partial(self._unseal, key))

    def _unseal(self, key: bytes, sealed: Sealed) -> Entry | Pointer | None:
        found = self._sealer.unseal(key, sealed)
        return found if self.kept_until(found) > self._clock() else None

    def _open(self, key: bytes, sealed: Sealed) -> Entry | None:
        """Open an envelope where no body lies outside."""
        found = self._unseal(key, sealed)
        if isinstance(found, Pointer):
            raise Refused(Refusal.UNREACHABLE)
        return found

    async def fetch(self, pointer: Pointer) -> Entry:
        """Return the entry of a pointer.

        Raises:
            Refused: there is no such body; the pointer has been removed, so that the next computation writes both.

        """
        if self.bodies is None:
            raise Refused(Refusal.UNREACHABLE)
        try:
            return pointer.entry(await self.bodies.get(pointer.address, pointer.body_bytes))
        except Refused:
            with suppress(StoreError):  # a pointer that stays is refused again
                await self.delete(pointer.key)
            raise

    async def put_body(self, entry: Entry) -> bytes:
        """Keep a large body outside and return its address; empty when the envelope holds the body."""
        outside = self.bodies is not None and self.bodies.takes(len(entry.body))
        return await self.bodies.put(entry.body) if self.bodies and outside else b""

    async def write(self, entry: Entry, address: bytes) -> bool:
        """Keep an entry whose body is at ``address``: always the body first, so that a pointer never leads nowhere."""
        ttl_seconds = self.kept_until(entry) - self._clock()
        return ttl_seconds > 0 and await self._write(entry, self._sealer.seal(entry, address=address), ttl_seconds)

    async def addresses(self) -> AsyncIterator[bytes]:
        """Yield the address of every body that an entry points to; one that is written meanwhile may be missing."""
        async for heads in self._heads(HEAD_BYTES):
            for head in heads:
                address = address_in(head)
                if address is not None:
                    yield address

    @abstractmethod
    async def _read(self, key: bytes, read: Callable[[Sealed], T]) -> T | None:
        """Return the result of ``read`` on the envelope under a key, None if there is none; pass its errors on."""

    @abstractmethod
    async def _write(self, entry: Entry, sealed: bytes, ttl_seconds: float) -> bool:
        """Replace the envelope under ``entry.key``."""

    @abstractmethod
    def _heads(self, length: int) -> AsyncIterator[list[bytes]]:
        """Yield the first bytes of every envelope, many at a time, without reading the rest."""


def _added(delta: float, total: bytes | None) -> bytes:
    return repr(float(total or 0) + delta).encode()
