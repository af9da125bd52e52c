"""The copies of uploaded voices that are kept at engines' servers: what each is called, and which there are.

A server gets a reference under a name that is made of the tenant, the reference's bytes and its transcript, keyed where there is
a secret: no name stands for two references, and none tells a stranger whose it is. Before a server gets one, that is written
into a table of the store; so whatever becomes of the process that sent it, another one removes it when its voice is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.core.counters import Operation

if TYPE_CHECKING:
    from sayonce.cache import Cache
    from sayonce.speech.voice_names import VoiceNames
    from sayonce.stores.base import Store

_TABLE: Final = "voice copies"
_TABLE_BYTES: Final = 16_000_000
_PREFIX: Final = "sayonce-"
_DIGITS: Final = 40
"""160 bits, in lower case, since servers do not tell it from upper case."""
_NAME: Final = re.compile(f"{_PREFIX}[0-9a-f]{{{_DIGITS}}}")
"""Of a copy: whatever else somebody may have written into the table is not removed anywhere."""
_NAMED: Final = re.compile(_NAME.pattern, re.IGNORECASE)
_TOLD: Final = re.compile(rf"(,\s*)?['\"]?{_PREFIX}[0-9a-f]+['\"]?", re.IGNORECASE)
"""In a server's words, which may be cut; the comma before it where it is one of a list."""

CopyAddress = tuple[str, str]
"""The address of a server, and the name of a copy there."""


def names_a_copy(text: str) -> bool:
    """Whether a text from outside names a copy: only Sayonce may ask for one, since it is some tenant's voice."""
    return _NAMED.search(text) is not None


def without_copies(text: str) -> str:
    """Return a server's words without the names of copies, which are of all tenants."""
    return _TOLD.sub(lambda found: "" if found[1] else "an uploaded voice", text)


class CopyRecord(msgspec.Struct, frozen=True):
    """What is known of a copy. ``mark`` is how its server tells it from another of its name; empty until it is there."""

    mark: str
    written: float


class Found(msgspec.Struct, frozen=True):
    """What the table has for a copy; ``sealed`` is what stands there, None for nothing."""

    sealed: bytes | None
    record: CopyRecord | None


class VoiceCopies:
    """The table of copies. Every method is within the store's budget, and tells of a store that did not answer."""

    def __init__(self, cache: Cache, store: Store, names: VoiceNames, refresh: Callable[[], Awaitable[None]]) -> None:
        self.cache = cache
        self._store = store
        self._names = names
        self._refresh = refresh
        self._wanted: frozenset[str] = frozenset()
        self._called: dict[tuple[str, str, str], str] = {}
        self._as_of = -1

    def name(self, tenant: str, address: str, transcript: str) -> str:
        """Return what a tenant's reference, by what it is kept under, is called at servers."""
        return _PREFIX + self.cache.key(["voice copy", tenant, address, transcript]).hex()[:_DIGITS]

    def wanted(self) -> frozenset[str]:
        """Return what the uploaded voices that there are now are called at servers."""
        if self._as_of != self._names.version:
            self._as_of = self._names.version
            live = {(tenant, voice.address, voice.ref_text) for (tenant, _), voice in self._names.live().items()}
            self._called = {each: self._called.get(each) or self.name(*each) for each in live}
            self._wanted = frozenset(self._called.values())
        return self._wanted

    def watch(self, changed: Callable[[], None]) -> None:
        """Call back when ``wanted`` may have changed."""
        self._names.watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._names.watchers.remove(changed)

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
        field = self._names.field(*address)

        async def read() -> Found:
            sealed = await self._store.registered(_TABLE, field)
            return Found(sealed, None if sealed is None else self._opened(field, sealed))

        return await self.cache.attempt(Operation.READ, read)

    async def all(self) -> dict[CopyAddress, Found] | None:
        """Return what is known of each copy; None where the store did not answer.

        A record under another secret cannot be read, and still tells that there is a copy.
        """
        registry = partial(self._store.registry, _TABLE)
        table = await self.cache.attempt(Operation.REGISTRY, registry, read_bytes=_TABLE_BYTES)
        if table is None:
            return None
        addresses = ((self._names.whose(field), field, sealed) for field, sealed in table.items())
        return {
            address: Found(sealed, self._opened(field, sealed))
            for address, field, sealed in addresses
            if address is not None and _NAME.fullmatch(address[1])
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
        field = self._names.field(*address)
        new = None if record is None else self._names.sealed(_TABLE, field, msgspec.msgpack.encode(record))
        return bool(await self.cache.attempt(Operation.SWAP, partial(self._store.swap, _TABLE, field, old, new)))

    def _opened(self, field: str, sealed: bytes) -> CopyRecord | None:
        content = self._names.open(_TABLE, field, sealed)
        try:
            return None if content is None else msgspec.msgpack.decode(content, type=CopyRecord)
        except msgspec.DecodeError:
            return None
