"""The table of uploaded voices' names, as this instance knows it.

Each name is a sealed record in a table of the store. A record has a number that rises with every change of its name,
so that an older record which comes back is not believed. A removed name leaves a record that says so, a *mark*.
A name with a record that cannot be read may be an uploaded voice. So it is refused. It is never passed on to an engine,
which could have another voice of that name.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sayonce.cache.sealed_table import SealedTable
from sayonce.core.outcome import Refusal
from sayonce.errors import NotFound, VoicesUnavailable, quoted
from sayonce.speech.engines.references import voice_of_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sayonce.cache import Cache
    from sayonce.stores.base import Store

TABLE: Final = "voices"
MAX_KNOWN: Final = 100_000
"""Names that an instance remembers, removed ones included. Beyond it no name is passed on to an engine."""
_OPENED_AT_ONCE: Final = 200
"""Fields, which takes some milliseconds of the event loop."""

Known = tuple[str, str]
"""A tenant and a name, or a tenant and an id."""


class NamedVoice(msgspec.Struct, frozen=True):
    """A voice that was uploaded. ``id`` is its content's; ``ref_text`` is what is said in the reference."""

    name: str
    id: str
    ref_text: str
    seconds: float
    created: float
    size_bytes: int = 0
    """Of the reference and the transcript."""
    number: int = 0
    """Rises with every change of the name."""
    removed: bool = False
    warning: str = ""
    """The reason why the reference makes a poor voice, if there is one."""
    file: str = ""
    """The digest of the reference's bytes."""

    @property
    def address(self) -> str:
        """The name under which the reference is kept."""
        return self.file or self.id  # as a release kept it that did not tell files of the same samples apart


class _Look(NamedTuple):
    """A field of the table: its content, its owner and name, and its record; None for what cannot be read."""

    sealed: bytes
    known: Known | None
    record: NamedVoice | None


class VoiceNames:
    """The names, as far as this instance has read them from the table and written them to it."""

    def __init__(self, cache: Cache, store: Store) -> None:
        self._cache = cache
        self._store = store
        self.table = SealedTable(cache, TABLE)
        self._records: dict[Known, NamedVoice] = {}
        self._ids: dict[Known, NamedVoice] = {}
        self._looked: dict[str, _Look] = {}
        self._lost: set[Known] = set()
        """Names that the table has, or had, with records that cannot be read."""
        self.read = cache.store is None
        """Whether the table was read once; one in this process's memory begins empty."""
        self.version = 0
        """Rises when a name is added, changed, removed or lost, as far as this instance has heard."""
        self.watchers: list[Callable[[], None]] = []
        """Called when ``version`` has risen."""

    def find(self, tenant: str, name: str, *, required: bool = True, asked: float = math.inf) -> NamedVoice | None:
        """Return the voice of a name or an id; None when no upload is known to have had it.

        ``required`` is False for an engine's default voice: until the table was read, that name means the engine's voice.
        ``asked`` is the moment when the request came: a table that was read after it is new enough.

        Raises:
            NotFound: it was removed.
            VoicesUnavailable: the table, or this name in it, cannot be read now.

        """
        known = (tenant, name)
        voice = self._records.get(known) or self._ids.get(known)
        if known in self._lost or (voice is not None and (tenant, voice.name) in self._lost):
            raise VoicesUnavailable(
                f"the record of the uploaded voice {quoted(name)} cannot be read; if that lasts, upload it again"
            )
        if not self.read and not required:
            return None
        self.check_read()
        if voice is None and len(self._records) + len(self._lost) < MAX_KNOWN:
            if required:
                self._check_complete(name)
            return None
        if voice is not None and not self.current(asked):  # also one that was removed: it may have been uploaded again
            raise VoicesUnavailable(f"the store is away, and may have another reference for the voice {quoted(name)}")
        if voice is None or voice.removed:
            raise NotFound(f"there is no uploaded voice {quoted(name)}", param="voice")
        return voice

    def _check_complete(self, asked: str) -> None:
        if self._store.incomplete:
            raise VoicesUnavailable(
                f"the store's file was damaged, and {quoted(asked)} may be an uploaded voice that was lost with it; "
                "if it is, upload it again"
            )

    def check_read(self) -> None:
        """Check that the table was read once.

        Raises:
            VoicesUnavailable: it was not, so that nobody can tell which names there are.

        """
        if not self.read:
            raise VoicesUnavailable("the names of uploaded voices could not be read from the store yet")

    def current(self, asked: float = math.inf) -> bool:
        """Whether what was read is to be trusted: a name may have been changed while the store was away."""
        return self._cache.view.fresh or self._cache.view.covers(asked)

    def live(self, tenant: str | None = None) -> dict[Known, NamedVoice]:
        """Return the voices that there are, by tenant and name; those of one tenant, or of all."""
        return {
            known: voice
            for known, voice in self._records.items()
            if not voice.removed and tenant in (None, known[0]) and known not in self._lost
        }

    def references(self, called: Collection[str]) -> list[str]:
        """Return the names by reference of all tenants' voices that have one of these names or ids."""
        return [
            voice_of_reference(voice.id)
            for (_, name), voice in self._records.items()
            if voice.id and (name in called or voice.id in called)
        ]

    def record(self, tenant: str, name: str) -> NamedVoice | None:
        """Return what is known of a name, also when it was removed."""
        return self._records.get((tenant, name))

    def lost(self, tenant: str, name: str) -> bool:
        """Whether the table has, or had, a name with a record that cannot be read."""
        return (tenant, name) in self._lost

    def next_number(self, tenant: str, name: str) -> int:
        """Return the number of a name's next record: above the last one known, and above those of a lost table."""
        last = self._records.get((tenant, name))
        return max(int(1000 * self._cache.now()), 0 if last is None else last.number + 1)

    async def learn(self) -> None:
        """Read the table.

        Raises:
            StoreError: the store did not answer; what is known stays.

        """
        version = -1
        while version != self.version:  # what was read before a change of our own must not undo it
            version = self.version
            looked = await self._look(await self._store.read_table(TABLE))
        self._looked = looked
        self._merge(looked.values())

    async def _look(self, table: Mapping[str, bytes]) -> dict[str, _Look]:
        """Return what each field says; only those that have changed are opened, and others' requests go on meanwhile."""
        looked: dict[str, _Look] = {}
        opened = 0
        for field, sealed in table.items():
            before = self._looked.get(field)
            if before is not None and before.sealed == sealed:
                looked[field] = before
                continue
            known = self.table.owned(field)
            looked[field] = _Look(sealed, known, None if known is None else self._opened(field, sealed))
            opened += 1
            if opened % _OPENED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return looked

    def _merge(self, looked: Iterable[_Look]) -> None:
        records, lost = dict(self._records), self._lost | self.live().keys()
        for _, known, read in looked:
            if known is None:
                continue
            had = records.get(known)
            if read is None:
                if len(lost) < MAX_KNOWN:
                    lost.add(known)
                continue
            lost.discard(known)
            if had is None or read.number >= had.number:
                records[known] = read
        self._take_over(records, lost)

    def _take_over(self, records: dict[Known, NamedVoice], lost: set[Known]) -> None:
        changed = not self.read or (records, lost) != (self._records, self._lost)
        self._tell_lost(len(lost))
        self._records, self._lost, self.read = records, lost, True
        if not changed:
            return
        # Of several names for one reference, with different transcripts perhaps, its id means the first that is there.
        ordered = sorted(records, key=lambda known: (records[known].removed or known in lost, known), reverse=True)
        self._ids = {(known[0], records[known].id): records[known] for known in ordered}
        self.version += 1
        for tell in self.watchers:
            tell()

    def _tell_lost(self, number: int) -> None:
        health = self._cache.health
        if health is not None and number:
            health.lost[TABLE] = f"{number} records of uploaded voices cannot be read: upload these voices again"
        elif health is not None:
            health.lost.pop(TABLE, None)

    async def write(self, tenant: str, voice: NamedVoice) -> NamedVoice:
        """Put a record in the place of its name's, with a number above the one that is there, and return it.

        Raises:
            StoreError: it may not be kept.

        """
        known, field = (tenant, voice.name), self.table.field(tenant, voice.name)
        while True:
            there = await self._store.read_field(TABLE, field)
            last = None if there is None else self._opened(field, there)
            if last is not None and last.number >= voice.number:
                voice = msgspec.structs.replace(voice, number=last.number + 1)
            if await self._store.swap_field(TABLE, field, there, self.table.seal(field, msgspec.msgpack.encode(voice))):
                break
        self._take_over({**self._records, known: voice}, self._lost - {known})
        return voice

    async def drop_oldest_marks(self, tenant: str, most: int) -> None:
        """Remove a tenant's oldest marks from the table, so that ``most`` are left; this instance remembers them.

        Raises:
            StoreError: the store did not do it.

        """
        marks = [voice for (owner, _), voice in self._records.items() if owner == tenant and voice.removed]
        for voice in sorted(marks, key=lambda each: each.number, reverse=True)[most:]:
            await self._store.remove_field(TABLE, self.table.field(tenant, voice.name))

    def _opened(self, field: str, sealed: bytes) -> NamedVoice | None:
        content = self.table.open(field, sealed)
        if content is None:
            return None
        try:
            return msgspec.msgpack.decode(content, type=NamedVoice)
        except msgspec.DecodeError:  # sealed by a release that wrote other records
            self.table.count(Refusal.HEADER)
            return None
