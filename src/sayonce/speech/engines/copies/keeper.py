"""Uploaded voices at servers that keep voices: each gets a reference once, and is then asked for it by name.

A server that has forgotten a name may refuse it, or speak in another voice. So a name is only believed where the server
lists, after it has begun to answer, the very upload that it listed before: it had that reference all the while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.core.clock import Clock
from sayonce.core.counters import CopyOutcome, Counter
from sayonce.errors import EngineError, EngineTimeout
from sayonce.speech.engines.copies.known import NOTHING_SECONDS, Copy, KnownCopies
from sayonce.speech.engines.copies.server import Listed, NothingKept, NotKept, ServerVoices

if TYPE_CHECKING:
    from sayonce.speech.engines.copies.table import CopyAddress, CopyTable, Found
    from sayonce.speech.engines.references import Reference

log = logging.getLogger("sayonce.speech")

MOST: Final = 500
"""Copies at one server; vLLM-Omni keeps a thousand voices, those of all its clients."""
_CLAIM_SECONDS: Final = 40.0
"""After so long, a process that announced a copy and has not noted it has failed."""
_COPY_SECONDS: Final = 5.0
"""How long requests wait for a copy."""
_WAIT_SECONDS: Final = 10.0
"""How long this process waits for a copy that another one sends."""
_REFUSED_SECONDS: Final = 3600.0
_FAILED_SECONDS: Final = 60.0
_UNABLE_SECONDS: Final = 10.0
"""The pause after a server answered that it cannot now: it may be starting, and cost nobody time."""
_LOOKS: Final = 2
_POLL_SECONDS: Final = 0.1
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 300.0


class _Sending(msgspec.Struct, frozen=True):
    """A copy on its way to a server; requests wait for it until a moment."""

    task: asyncio.Task[Copy | None]
    waited_for_until: float


def _mark(listed: Mapping[str, Listed], name: str) -> str | None:
    return listed[name].mark if name in listed else None


def _written(found: Found) -> float:
    return 0.0 if found.record is None else found.record.written


class CopyKeeper:
    """The copies at an engine's servers. With ``send`` False none is sent, and those that are there are removed."""

    def __init__(
        self, name: str, servers: Iterable[ServerVoices], copies: CopyTable, clock: Clock, *, send: bool
    ) -> None:
        self._name = name
        self._known = {server.url: KnownCopies(server, clock) for server in servers}
        self._copies = copies
        self._send = send
        self._clock = clock
        self._sending: dict[CopyAddress, _Sending] = {}
        self._changed = asyncio.Event()
        self._changed.set()
        copies.watch(self._changed.set)
        self._housekeeper = asyncio.create_task(self._keep_house())

    # -- asking by name -----------------------------------------------------------------------------------------------

    async def at(self, url: str, reference: Reference) -> Copy | None:
        """Return the copy by which a server is asked; None where the reference goes along with the request.

        However many wait for a copy, it is sent once. One that takes long goes on, while the reference goes along with requests.
        """
        at_server, name = self._known[url], reference.copy
        if name not in self._wanted():
            return None
        copy = at_server.use(name)
        if copy is not None or not at_server.may_try(name):
            return copy
        sending = self._sending.get((url, name))
        if sending is None:
            task = asyncio.create_task(self._obtain(at_server, reference))
            sending = self._sending[url, name] = _Sending(task, self._clock() + _COPY_SECONDS)
        await asyncio.wait([sending.task], timeout=max(0.0, sending.waited_for_until - self._clock()))
        return sending.task.result() if sending.task.done() else None

    async def holds(self, url: str, copy: Copy) -> bool | None:
        """Whether a server has a copy, and had it when it began to answer; None where it does not tell."""
        for _ in range(_LOOKS):
            try:
                return _mark(await self._known[url].server.look(), copy.name) == copy.mark
            except NothingKept:
                return False
            except EngineTimeout:
                return None
            except EngineError:
                pass  # a connection that lay idle may have been closed at this moment
        return None

    def lost(self, url: str, copy: Copy) -> None:
        """Forget a copy that its server does not have any more."""
        known = self._known[url]
        if known.marks.get(copy.name) == copy.mark:
            known.lose(copy.name)
            self._count(CopyOutcome.LOST)

    def refused(self, url: str, copy: Copy) -> None:
        """Ask no longer by the name of a copy that its server has, and does not speak with."""
        self._known[url].avoid(copy.name, _FAILED_SECONDS)

    def _wanted(self) -> frozenset[str]:
        return self._copies.wanted() if self._send else frozenset()

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _obtain(self, known: KnownCopies, reference: Reference) -> Copy | None:
        try:
            return await self._obtained(known, reference)
        except NothingKept:
            known.rest(NOTHING_SECONDS)
        except NotKept as error:
            known.avoid(reference.copy, _REFUSED_SECONDS)
            self._tell(known, error)
        except EngineError as error:
            known.rest(_FAILED_SECONDS if isinstance(error, EngineTimeout) else _UNABLE_SECONDS)
            self._tell(known, error)
        finally:
            del self._sending[known.server.url, reference.copy]
            if reference.copy not in self._wanted():
                self._changed.set()  # removed while it was sent
        return None

    def _tell(self, known: KnownCopies, error: EngineError) -> None:
        self._count(CopyOutcome.FAILED)
        log.warning(
            "engine %s: %s: %s; the reference goes along with requests", self._name, known.server.url, error.message
        )

    async def _obtained(self, known: KnownCopies, reference: Reference) -> Copy | None:
        """Find the copy that this or another process has sent, or send one, when no other process is about to."""
        address = (known.server.url, reference.copy)
        await known.server.look()  # it may keep nothing
        for _ in range(round(_WAIT_SECONDS / _POLL_SECONDS)):
            found = await self._copies.find(address)
            if found is None:
                return None  # what the store does not know of could not be removed later
            record = found.record
            if record is not None and record.mark:
                if _mark(await known.server.look(), reference.copy) == record.mark:
                    return known.know(reference.copy, record.mark)
            elif record is not None and not self._copies.older(record, _CLAIM_SECONDS):
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if await self._copies.claim(address, found):
                return await self._send_copy(known, reference, address)
        return None

    async def _send_copy(self, known: KnownCopies, reference: Reference, address: CopyAddress) -> Copy:
        server, name = known.server, reference.copy
        if name in await server.look():  # of a reference that nobody here knows
            await server.remove(name)
        await self._make_room(known, address)
        mark = await self._sent(server, reference)
        await self._copies.note(address, mark)
        self._count(CopyOutcome.SENT)
        return known.know(name, mark)

    async def _sent(self, server: ServerVoices, reference: Reference) -> str:
        assert reference.audio is not None
        told = await server.send(reference.copy, reference.audio, reference.text)
        listed = (await server.look()).get(reference.copy)
        if listed is None or listed.contradicts(told):
            raise EngineError(f"{self._name!r} does not list the voice that it took")
        return listed.mark

    async def _make_room(self, known: KnownCopies, address: CopyAddress) -> None:
        """Remove what was used longest ago, as far as is known here, where a server has as many copies as it may."""
        kept = await self._copies.all() or {}
        ours = [(name, found) for (url, name), found in kept.items() if url == address[0] and name != address[1]]
        if len(ours) < MOST:
            return
        order = {name: number for number, name in enumerate(known.marks)}
        await self._remove(known, *min(ours, key=lambda each: (order.get(each[0], -1), _written(each[1]))))

    # -- removing -----------------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._sweep():
                pause_seconds = _FIRST_PAUSE_SECONDS
                continue
            self._changed.set()
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _sweep(self) -> bool:
        """Remove the copies of voices that there are no more, and return whether none is left."""
        kept = await self._copies.all()  # before the names: a voice is there before its copy is
        if kept is None:
            return False
        if not self._gone(kept):
            return True
        if not await self._copies.learn():
            return False
        return all([await self._removed(self._known[url], name, kept[url, name]) for url, name in self._gone(kept)])

    def _gone(self, kept: Iterable[CopyAddress]) -> list[CopyAddress]:
        wanted = self._wanted()
        return [
            (url, name)
            for url, name in kept
            if url in self._known and name not in wanted and (url, name) not in self._sending
        ]

    async def _removed(self, known: KnownCopies, name: str, found: Found) -> bool:
        try:
            await self._remove(known, name, found)
        except EngineError:
            self._count(CopyOutcome.FAILED)
            return False
        self._count(CopyOutcome.REMOVED)
        return True

    async def _remove(self, known: KnownCopies, name: str, found: Found) -> None:
        known.marks.pop(name, None)
        await known.server.remove(name)
        await self._copies.strike((known.server.url, name), found)

    def _count(self, outcome: CopyOutcome) -> None:
        self._copies.cache.counts.add(Counter.VOICE_COPIES, self._name, outcome)

    async def close(self) -> None:
        self._copies.unwatch(self._changed.set)
        tasks = [self._housekeeper, *(sending.task for sending in self._sending.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
