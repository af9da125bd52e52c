"""The table of the copies of uploaded voices at engines' servers.

A server gets a reference under a name that is made of the tenant, the reference's bytes and its transcript, keyed where there is
a secret: no name stands for two references, and none tells a stranger its tenant. Before a server gets one, that is written
into a table of the store; so whatever becomes of the process that sent it, another one removes it when its voice is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sayonce.cache.sealed_table import Owned, SealedTable
from sayonce.core.counters import Operation
from sayonce.speech.engines.copies.names import copy_name, is_copy_name

if TYPE_CHECKING:
    from sayonce.cache import Cache
    from sayonce.stores.base import Store

_TABLE: Final = "voice copies"
_TABLE_BYTES: Final = 16_000_000

CopyAddress = tuple[str, str]
"""The address of a server, and the name of a copy there."""


class Upload(Protocol):
    """An uploaded voice: the address of its reference, and the reference's transcript."""

    @property
    def address(self) -> str: ...

    @property
    def ref_text(self) -> str: ...


class Uploads(Protocol):
    """The uploaded voices of all tenants."""

    version: int
    """Rises when a voice is added, changed or removed."""
    watchers: list[Callable[[], None]]
    """Called when ``version`` has risen."""

    def live(self) -> Mapping[Owned, Upload]:
        """Return the voices that there are, by tenant and name."""


class CopyRecord(msgspec.Struct, frozen=True):
    """A copy as the table tells it. ``mark`` is how its server tells it from another of its name; empty until it is there."""

    mark: str
    written: float


class Found(msgspec.Struct, frozen=True):
    """The table's field for a copy; ``sealed`` is its content, None when it is empty."""

    sealed: bytes | None
    record: CopyRecord | None


class CopyTable:
    """The table of copies. Every method is within the store's budget, and tells of a store that did not answer."""

    def __init__(self, cache: Cache, store: Store, uploads: Uploads, refresh: Callable[[], Awaitable[None]]) -> None:
        self.cache = cache
        self._store = store
        self._table = SealedTable(cache, _TABLE)
        self._uploads = uploads
        self._refresh = refresh
        self._wanted: frozenset[str] = frozenset()
        self._called: dict[tuple[str, str, str], str] = {}
        self._as_of = -1

    def name(self, tenant: str, address: str, transcript: str) -> str:
        """Return what a tenant's reference, by what it is kept under, is called at servers."""
        return copy_name(self.cache.key(["voice copy", tenant, address, transcript]))

    def wanted(self) -> frozenset[str]:
        """Return what the uploaded voices that there are now are called at servers."""
        if self._as_of != self._uploads.version:
            self._as_of = self._uploads.version
            live = {(tenant, voice.address, voice.ref_text) for (tenant, _), voice in self._uploads.live().items()}
            self._called = {each: self._called.get(each) or self.name(*each) for each in live}
            self._wanted = frozenset(self._called.values())
        return self._wanted

    def watch(self, changed: Callable[[], None]) -> None:
        """Call back when ``wanted`` may have changed."""
        self._uploads.watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._uploads.watchers.remove(changed)

    def older(self, record: CopyRecord, seconds: float) -> bool:
        """Whether a record was written longer ago than that."""
        return self.cache.now() - record.written > seconds

    async def learn(self) -> bool:
        """Take over the names of voices as the store has them now, and return whether it has told them."""

        async def refresh() -> bool:
            await self._refresh()
            return True

        return bool(await self.cache.attempt(Operation.REFRESH, refresh))

    async def find(self, address: CopyAddress) -> Found | None:
        """Return what is known of a copy; None where the store did not answer."""
        field = self._table.field(*address)

        async def read() -> Found:
            sealed = await self._store.read_field(_TABLE, field)
            return Found(sealed, None if sealed is None else self._opened(field, sealed))

        return await self.cache.attempt(Operation.READ, read)

    async def all(self) -> dict[CopyAddress, Found] | None:
        """Return what is known of each copy; None where the store did not answer.

        A record under another secret cannot be read, and still tells that there is a copy.
        """
        read_table = partial(self._store.read_table, _TABLE)
        table = await self.cache.attempt(Operation.REGISTRY, read_table, read_bytes=_TABLE_BYTES)
        if table is None:
            return None
        addresses = ((self._table.owned(field), field, sealed) for field, sealed in table.items())
        return {
            address: Found(sealed, self._opened(field, sealed))
            for address, field, sealed in addresses
            if address is not None and is_copy_name(address[1])
        }

    async def claim(self, address: CopyAddress, found: Found) -> bool:
        """Write down that this process is about to send a copy, and return whether no other was before it."""
        return await self._swap(address, found.sealed, CopyRecord("", self.cache.now()))

    async def note(self, address: CopyAddress, mark: str) -> bool:
        """Write down that a copy is there, and return whether the store has it."""
        found = await self.find(address)
        return found is not None and await self._swap(address, found.sealed, CopyRecord(mark, self.cache.now()))

    async def strike(self, address: CopyAddress, found: Found) -> None:
        """Forget a copy that is no longer there, unless it was sent again; a store that is away hears it another time."""
        await self._swap(address, found.sealed, None)

    async def _swap(self, address: CopyAddress, old: bytes | None, record: CopyRecord | None) -> bool:
        field = self._table.field(*address)
        new = None if record is None else self._table.seal(field, msgspec.msgpack.encode(record))
        return bool(await self.cache.attempt(Operation.SWAP, partial(self._store.swap_field, _TABLE, field, old, new)))

    def _opened(self, field: str, sealed: bytes) -> CopyRecord | None:
        content = self._table.open(field, sealed)
        try:
            return None if content is None else msgspec.msgpack.decode(content, type=CopyRecord)
        except msgspec.DecodeError:
            return None
