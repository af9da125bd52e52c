"""Voices by name: a reference clip that was uploaded once, known by its content ever after.

A name is an alias of content: uploaded again with another clip it is another voice at once, and the old one's clips
are no longer reached by it. Names and clips are sealed values in two of the store's books, so that they outlive a
restart, are shared by instances, and are never evicted. Other instances learn of a change within a second.

A clip belongs to its tenant, although its id is the same for everyone: what a decoder other than ours makes of a file
is not in the id, so nobody's file may stand in for another's.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.cache import Cache
from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.eviction import LRU
from sayonce.errors import EngineError, InvalidRequest, NotFound, TooLarge, quoted
from sayonce.speech.engines.base import Reference
from sayonce.stores.base import Store

if TYPE_CHECKING:
    from sayonce.features.voice import Voice

MAX_CLIP_BYTES: Final = 10_000_000
MAX_VOICES: Final = 1000
"""Of one tenant."""
MAX_BYTES: Final = 1_000_000_000
"""Of all tenants together."""
_NAME: Final = re.compile(r"[^\W_][\w .-]{0,63}")
_NAMES: Final = "voices"
_CLIPS: Final = "voice clips"
_EPOCH: Final = "book=voices"
"""Rises with every change, so that other instances read the names anew."""
_CLIPS_IN_MEMORY_BYTES: Final = 100_000_000
_FOREVER: Final = float(2**62)


class NamedVoice(msgspec.Struct, frozen=True):
    """A voice that was uploaded. ``id`` is its content's; ``ref_text`` is what is said in the clip."""

    name: str
    id: str
    ref_text: str
    seconds: float
    created: float
    size_bytes: int = 0
    """Of the clip and the transcript."""


Names = dict[tuple[str, str], NamedVoice]
"""Voices by tenant and name, or by tenant and id."""


class VoiceBook:
    """The uploaded voices of every tenant, which take ``max_bytes`` at most; a clip with two names counts twice."""

    def __init__(self, cache: Cache, *, max_bytes: int = MAX_BYTES) -> None:
        self._cache = cache
        self._max_bytes = max_bytes
        self._store: Store = cache.store or cache.memory
        self._sealer = Sealer(cache.secret)
        self._names: Names = {}
        self._ids: Names = {}
        self.version = 0
        """Rises when a name is added, changed or removed, as far as this instance has heard."""
        self._clips: LRU[bytes] = LRU(_CLIPS_IN_MEMORY_BYTES)
        self._refreshing: asyncio.Task[None] | None = None
        cache.watch(_EPOCH, self.refresh)

    def known(self, tenant: str, name: str) -> NamedVoice | None:
        """Return a voice that this instance has heard of, by its name or by its id, at once."""
        return self._names.get((tenant, name)) or self._ids.get((tenant, name))

    def of(self, tenant: str) -> list[NamedVoice]:
        return sorted(
            (voice for (owner, _), voice in self._names.items() if owner == tenant), key=lambda each: each.name
        )

    async def refresh(self) -> None:
        """Take over the names as the store has them now.

        Raises:
            StoreError: it did not answer; the names known so far stay.

        """
        under_way = self._refreshing
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way])  # it may have read before the change that this caller has heard of
        if self._refreshing is under_way:  # else another has begun the next one, and this caller shares it
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_looked_at)
        assert self._refreshing is not None
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        version = -1
        while version != self.version:  # what was read before a change of our own must not undo it
            version = self.version
            names = self._read(await self._store.registry(_NAMES))
        if names != self._names:
            self._take_over(names)

    def _read(self, registry: dict[str, bytes]) -> Names:
        names: Names = {}
        for field, sealed in registry.items():
            namespace, tenant, name = msgspec.json.decode(field, type=tuple[str, str, str])
            content = self._opened(_NAMES, field, sealed) if namespace == self._cache.namespace else None
            if content is not None:
                names[tenant, name] = msgspec.msgpack.decode(content, type=NamedVoice)
        return names

    def _take_over(self, names: Names) -> None:
        self._names = names
        # Of several names for one clip, with different transcripts perhaps, its id means the first.
        self._ids = {(tenant, voice.id): voice for (tenant, _), voice in sorted(names.items(), reverse=True)}
        self.version += 1

    async def add(self, tenant: str, name: str, clip: bytes, ref_text: str) -> NamedVoice:
        """Keep a clip under a name, in place of what was there.

        Raises:
            InvalidRequest: the name or the clip is not acceptable.
            TooLarge: the clip, or there are too many voices, or no room for another.
            StoreError: it is not kept.

        """
        check_name(name)
        if len(clip) > MAX_CLIP_BYTES:
            raise TooLarge(
                f"the clip is larger than {MAX_CLIP_BYTES} bytes; some seconds are enough", param="audio_sample"
            )
        heard = await asyncio.to_thread(_identified, clip)
        await self.refresh()
        old = self._names.get((tenant, name))
        voice = NamedVoice(
            name, heard.id, ref_text, heard.seconds, self._cache.now(), len(clip) + len(ref_text.encode())
        )
        self._check_room(tenant, voice)
        place, field = self._field(tenant, heard.id), self._field(tenant, name)
        await self._store.register(_CLIPS, place, self._sealed(_CLIPS, place, clip))
        await self._store.register(_NAMES, field, self._sealed(_NAMES, field, msgspec.msgpack.encode(voice)))
        self._take_over({**self._names, (tenant, name): voice})
        await self._cache.purge(_EPOCH)
        if old is not None:
            await self._drop_nameless(tenant, old)
        return voice

    def _check_room(self, tenant: str, voice: NamedVoice) -> None:
        """Check that a voice may be added to those that there are, in place of one of its name."""
        others = {known: other for known, other in self._names.items() if known != (tenant, voice.name)}
        if sum(owner == tenant for owner, _ in others) >= MAX_VOICES:
            raise TooLarge(f"there are {MAX_VOICES} voices, which is the limit; delete one first", param="name")
        if sum(other.size_bytes for other in others.values()) + voice.size_bytes > self._max_bytes:
            raise TooLarge(
                f"there is no room for this voice, as all that are uploaded may take {self._max_bytes} bytes "
                "(voices.max_bytes); delete some first",
                param="audio_sample",
            )

    async def remove(self, tenant: str, name: str) -> None:
        """Strike a name out, and its clip when no other name has it.

        Raises:
            NotFound: there is no such voice.
            StoreError: it may still be there.

        """
        await self.refresh()
        voice = self._names.get((tenant, name))
        if voice is None:
            raise NotFound(f"there is no uploaded voice {quoted(name)}", param="voice")
        await self._store.unregister(_NAMES, self._field(tenant, name))
        self._take_over({known: other for known, other in self._names.items() if known != (tenant, name)})
        await self._cache.purge(_EPOCH)
        await self._drop_nameless(tenant, voice)

    async def _drop_nameless(self, tenant: str, voice: NamedVoice) -> None:
        """Remove the clip of a voice from the store unless a name has it."""
        if (tenant, voice.id) not in self._ids:
            await self._store.unregister(_CLIPS, self._field(tenant, voice.id))

    async def fetch_clip(self, tenant: str, reference: Reference) -> Reference:
        """Return a reference with its clip, for an engine to hear.

        Raises:
            NotFound: there is no such clip any more.
            EngineError: the store, which has it, does not answer.

        """
        place = self._field(tenant, reference.id)
        clip = self._clips.get(place.encode())
        if clip is None:
            found = await self._cache.attempt(partial(self._stored_clip, place), read_bytes=MAX_CLIP_BYTES)
            if found is None:
                raise EngineError("the store does not answer, and it has the clip of this voice; ask again")
            [sealed] = found
            clip = None if sealed is None else self._opened(_CLIPS, place, sealed)
            if clip is None:
                raise NotFound("the clip of this voice is lost; upload it again", param="voice")
            self._clips.put(place.encode(), clip, len(clip))
        return msgspec.structs.replace(reference, audio=clip)

    async def _stored_clip(self, place: str) -> list[bytes | None]:
        return [await self._store.registered(_CLIPS, place)]

    def _field(self, tenant: str, name: str) -> str:
        """Return where a tenant's name, or the id of a clip, stands in a book."""
        return msgspec.json.encode((self._cache.namespace, tenant, name)).decode()

    def _sealed(self, book: str, field: str, content: bytes) -> bytes:
        key = self._cache.key([book, field])
        entry = Entry(key=key, body=content, media_type="", created=self._cache.now(), expires=_FOREVER)
        return self._sealer.seal(entry)

    def _opened(self, book: str, field: str, sealed: bytes) -> bytes | None:
        try:
            return self._sealer.open(self._cache.key([book, field]), sealed).body
        except Refused as refused:
            self._cache.counters[f"refused: {refused.reason.value}"] += 1
            return None


def _looked_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # should everyone who asked have left


def check_name(name: str) -> None:
    """Check what an uploaded voice may be called.

    Raises:
        InvalidRequest: the name is empty, too long, or has other characters.

    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "'name' is 1 to 64 letters, digits, spaces, '.', '-' or '_', and begins with a letter or a digit",
            param="name",
        )


def _identified(clip: bytes) -> Voice:
    from sayonce.features.voice import Voice  # noqa: PLC0415 (brings codecs that most services do not need)

    try:
        return Voice.from_audio(clip)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="audio_sample") from None
