"""Voices by name: a reference clip that was uploaded once, known by its content ever after.

A name is an alias of content: uploaded again with another clip it is another voice at once, and the old one's clips
are no longer reached by it. Names and clips are sealed values in two of the store's books, so that they outlive a
restart, are shared by instances, and are never evicted. Other instances learn of a change within a second.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import msgspec

from sayonce.cache import Cache
from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.eviction import LRU
from sayonce.errors import InvalidRequest, NotFound, TooLarge
from sayonce.speech.engines.base import Reference
from sayonce.stores.base import Store

if TYPE_CHECKING:
    from sayonce.features.voice import Voice

MAX_CLIP_BYTES: Final = 10_000_000
MAX_VOICES: Final = 1000
"""Of one tenant: with clips of some hundred kB, about a GB at the most."""
_NAME: Final = re.compile(r"[^\W_][\w .-]{0,63}")
_NAMES: Final = "names"
_CLIPS: Final = "clips"
_EPOCH: Final = "book=names"
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


class VoiceBook:
    """The uploaded voices of every tenant."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._store: Store = cache.store or cache.memory
        self._sealer = Sealer(cache.secret)
        self._names: dict[tuple[str, str], NamedVoice] = {}
        self.version = 0
        """Rises when a name is added, changed or removed, as far as this instance has heard."""
        self._clips: LRU[bytes] = LRU(_CLIPS_IN_MEMORY_BYTES)
        self._refreshing: asyncio.Task[None] | None = None
        cache.watch(_EPOCH, self.refresh)

    def known(self, tenant: str, name: str) -> NamedVoice | None:
        """Return a voice that this instance has heard of, at once."""
        return self._names.get((tenant, name))

    def of(self, tenant: str) -> list[NamedVoice]:
        return sorted(
            (voice for (owner, _), voice in self._names.items() if owner == tenant), key=lambda each: each.name
        )

    async def refresh(self) -> None:
        """Take over the names as the store has them now; who asks while that is under way shares its answer.

        Raises:
            StoreError: it did not answer; the names known so far stay.

        """
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # looked at, should everyone who asked have left

    async def _refresh(self) -> None:
        names: dict[tuple[str, str], NamedVoice] = {}
        for field, sealed in (await self._store.registry(_NAMES)).items():
            content = self._opened(_NAMES, field, sealed)
            if content is not None:
                tenant = msgspec.json.decode(field, type=tuple[str, str])[0]
                voice = msgspec.msgpack.decode(content, type=NamedVoice)
                names[tenant, voice.name] = voice
        if names != self._names:
            self._names = names
            self.version += 1

    async def add(self, tenant: str, name: str, clip: bytes, ref_text: str) -> NamedVoice:
        """Keep a clip under a name, in place of what was there.

        Raises:
            InvalidRequest: the name or the clip is not acceptable.
            TooLarge: the clip, or there are too many voices.
            StoreError: it is not kept.

        """
        check_name(name)
        if len(clip) > MAX_CLIP_BYTES:
            raise TooLarge(
                f"the clip is larger than {MAX_CLIP_BYTES} bytes; some seconds are enough", param="audio_sample"
            )
        heard = await asyncio.to_thread(_identified, clip)
        if len(self.of(tenant)) >= MAX_VOICES and self.known(tenant, name) is None:
            raise TooLarge(f"there are {MAX_VOICES} voices, which is the limit; delete one first", param="name")
        voice = NamedVoice(name, heard.id, ref_text, heard.seconds, self._cache.now())
        await self._store.register(_CLIPS, heard.id, self._sealed(_CLIPS, heard.id, clip))
        await self._store.register(_NAMES, _field(tenant, name), self._named(tenant, voice))
        self._names[tenant, name] = voice
        self.version += 1
        await self._cache.purge(_EPOCH)
        return voice

    async def remove(self, tenant: str, name: str) -> None:
        """Strike a name out, and its clip when no other name has it.

        Raises:
            NotFound: there is no such voice.
            StoreError: it may still be there.

        """
        await self.refresh()
        voice = self._names.pop((tenant, name), None)
        if voice is None:
            raise NotFound(f"there is no uploaded voice {name!r}", param="voice")
        self.version += 1
        await self._store.unregister(_NAMES, _field(tenant, name))
        if all(other.id != voice.id for other in self._names.values()):
            self._clips.discard(voice.id.encode())
            await self._store.unregister(_CLIPS, voice.id)
        await self._cache.purge(_EPOCH)

    async def fetch_clip(self, reference: Reference) -> Reference:
        """Return a reference with its clip, for an engine to hear.

        Raises:
            NotFound: the store has lost it.
            StoreError: the store did not answer.

        """
        clip = self._clips.get(reference.id.encode())
        if clip is None:
            sealed = await self._store.registered(_CLIPS, reference.id)
            clip = None if sealed is None else self._opened(_CLIPS, reference.id, sealed)
            if clip is None:
                raise NotFound("the clip of this voice is lost; upload it again", param="voice")
            self._clips.put(reference.id.encode(), clip, len(clip))
        return msgspec.structs.replace(reference, audio=clip)

    def _named(self, tenant: str, voice: NamedVoice) -> bytes:
        return self._sealed(_NAMES, _field(tenant, voice.name), msgspec.msgpack.encode(voice))

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


def _field(tenant: str, name: str) -> str:
    return msgspec.json.encode((tenant, name)).decode()
