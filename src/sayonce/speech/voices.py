"""Voices by name: a reference that was uploaded once, known by its content ever after.

A name is an alias of content: uploaded again with another reference it is another voice at once, and the old one's clips
are no longer reached by it. Names and references are sealed values in two tables of the store, so that they outlive a
restart, are shared by instances, and are never evicted. Other instances learn of a change within a second.

A voice is known by its samples, and its reference is kept under the digest of its bytes. Two files may have the same
samples to our decoder and not to the decoder of an engine. So the engine gets the very file that was uploaded under the
name, and never another one with the same samples.
"""

from __future__ import annotations

import math
import re
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sayonce.audio.decode.thread_pool import DecoderThreads
from sayonce.cache import Cache, Obeyed
from sayonce.cache.sealed_table import SealedTable
from sayonce.cache.shared_reading import SharedReading
from sayonce.core.counters import Operation
from sayonce.core.eviction import LRU
from sayonce.errors import InvalidRequest, NotFound, TooLarge, VoicesUnavailable, quoted
from sayonce.speech.engines import Reference
from sayonce.speech.engines.copies.table import CopyTable
from sayonce.speech.voice_names import NamedVoice, VoiceNames
from sayonce.stores.base import Store

if TYPE_CHECKING:
    from sayonce.audio.voice import Voice

MAX_REFERENCE_BYTES: Final = 10_000_000
MAX_VOICES: Final = 1000
"""Of one tenant."""
MAX_BYTES: Final = 1_000_000_000
"""Of all tenants together."""
_NAME: Final = re.compile(r"[^\W_][\w .-]{0,63}")
_REFERENCES: Final = "voice clips"
_EPOCH: Final = "book=voices"
"""Rises with every change, so that other instances read the names anew."""
_REFERENCES_IN_MEMORY_BYTES: Final = 100_000_000


class TenantVoices(NamedTuple):
    """The uploaded voices of one tenant, for a request to be checked against."""

    names: VoiceNames
    tenant: str
    asked: float

    def find(self, name: str, *, required: bool) -> NamedVoice | None:
        return self.names.find(self.tenant, name, required=required, asked=self.asked)

    def listed(self) -> list[str]:
        return [name for _, name in self.names.live(self.tenant)]


class UploadedVoices:
    """The uploaded voices of every tenant, which take ``max_bytes`` at most; a reference with two names counts twice."""

    def __init__(self, cache: Cache, *, max_bytes: int = MAX_BYTES, decoding: DecoderThreads | None = None) -> None:
        self._cache = cache
        self._decoding = decoding or DecoderThreads()
        self._max_bytes = max_bytes
        self._store: Store = cache.store or cache.memory
        self._references = SealedTable(cache, _REFERENCES)
        self.names = VoiceNames(cache, self._store)
        self.copies = CopyTable(cache, self._store, self.names, self.refresh)
        self._audio: LRU[bytes] = LRU(_REFERENCES_IN_MEMORY_BYTES)
        self._reading = SharedReading(self.names.learn)
        cache.watch(_EPOCH, self.refresh)

    @property
    def version(self) -> int:
        """Rises when a name is added, changed or removed, as far as this instance has heard; -1 while that may be old."""
        return self.names.version if self.names.current() else -1

    def of(self, tenant: str) -> list[NamedVoice]:
        """Return the voices of a tenant, in order of their names.

        Raises:
            VoicesUnavailable: they were not read yet.

        """
        self.names.check_read()
        return sorted(self.names.live(tenant).values(), key=lambda each: each.name)

    def known_to(self, tenant: str, asked: float = math.inf) -> TenantVoices:
        """Return a tenant's voices, for a request that came at the moment ``asked``; see ``VoiceNames.find``."""
        return TenantVoices(self.names, tenant, asked)

    async def refresh(self) -> None:
        """Take over the names as the store has them now.

        Raises:
            StoreError: it did not answer; the names known so far stay.

        """
        await self._reading()

    async def add(
        self, tenant: str, name: str, audio: bytes, ref_text: str, *, wait: bool = True
    ) -> tuple[NamedVoice, Obeyed]:
        """Keep a reference under a name, in place of what was there; returns the voice, and which instances know it (``Cache.purge``).

        Raises:
            InvalidRequest: the name or the reference is not acceptable.
            TooLarge: the reference, or there are too many voices, or no room for another.
            StoreError: it is not kept.

        """
        check_name(name)
        if len(audio) > MAX_REFERENCE_BYTES:
            raise TooLarge(
                f"the reference audio is larger than {MAX_REFERENCE_BYTES} bytes; some seconds are enough",
                param="audio_sample",
            )
        heard, file = await self._decoding.run(tenant, _identified, tenant, audio)
        await self.refresh()
        old = self.names.live(tenant).get((tenant, name))
        size_bytes, number = len(audio) + len(ref_text.encode()), self.names.next_number(tenant, name)
        moment = self._cache.now()
        voice = NamedVoice(
            name, heard.id, ref_text, heard.seconds, moment, size_bytes, number, warning=heard.warning, file=file
        )
        self._check_room(tenant, voice)
        address = self._references.field(tenant, file)
        await self._store.write_field(_REFERENCES, address, self._references.seal(address, audio))
        voice, obeyed = await self._write(tenant, voice, wait=wait)
        if old is not None:
            await self._drop_nameless(tenant, old)
        return voice, obeyed

    async def _write(self, tenant: str, voice: NamedVoice, *, wait: bool) -> tuple[NamedVoice, Obeyed]:
        return await self.names.write(tenant, voice), await self._cache.announce(_EPOCH, wait=wait)

    def _check_room(self, tenant: str, voice: NamedVoice) -> None:
        """Check that a voice may be added to those that there are, in place of one of its name."""
        others = {known: other for known, other in self.names.live().items() if known != (tenant, voice.name)}
        if sum(owner == tenant for owner, _ in others) >= MAX_VOICES:
            raise TooLarge(f"there are {MAX_VOICES} voices, which is the limit; delete one first", param="name")
        if sum(other.size_bytes for other in others.values()) + voice.size_bytes > self._max_bytes:
            raise TooLarge(
                f"there is no room for this voice, as all that are uploaded may take {self._max_bytes} bytes "
                "(voices.max_bytes); delete some first",
                param="audio_sample",
            )

    async def remove(self, tenant: str, name: str, *, wait: bool = True) -> Obeyed:
        """Mark a name as removed, and remove its reference when no other name has it; returns which instances know (``Cache.purge``).

        Raises:
            NotFound: there is no such voice.
            StoreError: it may still be there.

        """
        await self.refresh()
        voice = self.names.live(tenant).get((tenant, name))
        if voice is None and not self.names.lost(tenant, name):
            raise NotFound(f"there is no uploaded voice {quoted(name)}", param="name")
        number = self.names.next_number(tenant, name)
        gone = "" if voice is None else voice.id
        mark = NamedVoice(name, gone, "", 0.0, self._cache.now(), 0, number, removed=True)
        _, obeyed = await self._write(tenant, mark, wait=wait)
        await self.names.drop_oldest_marks(tenant, MAX_VOICES)
        if voice is not None:
            await self._drop_nameless(tenant, voice)
        return obeyed

    async def _drop_nameless(self, tenant: str, voice: NamedVoice) -> None:
        """Remove the reference of a voice unless a name has it."""
        if voice.address not in {each.address for each in self.names.live(tenant).values()}:
            address = self._references.field(tenant, voice.address)
            self._audio.discard(address.encode())
            await self._store.remove_field(_REFERENCES, address)

    async def fetch_audio(self, tenant: str, reference: Reference) -> Reference:
        """Return a reference with its audio, for an engine to hear.

        Raises:
            NotFound: there is no such audio any more.
            VoicesUnavailable: the store, which has it, does not answer.

        """
        address = self._references.field(tenant, reference.address)
        audio = self._audio.get(address.encode())
        if audio is None:
            fetch = partial(self._stored, address)
            found = await self._cache.attempt(Operation.FETCH_REFERENCE, fetch, read_bytes=MAX_REFERENCE_BYTES)
            if found is None:
                raise VoicesUnavailable(
                    "the store does not answer, and it has the reference audio of this voice; ask again"
                )
            [sealed] = found
            audio = None if sealed is None else self._references.open(address, sealed)
            if audio is None:
                raise NotFound("the reference audio of this voice is lost; upload it again", param="voice")
            self._audio.put(address.encode(), audio, len(audio))
        return msgspec.structs.replace(
            reference, audio=audio, copy=self.copies.name(tenant, reference.address, reference.text)
        )

    async def _stored(self, address: str) -> list[bytes | None]:
        return [await self._store.read_field(_REFERENCES, address)]


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


def _identified(tenant: str, audio: bytes) -> tuple[Voice, str]:
    """Return the voice of a reference, and the digest of the file."""
    from sayonce.audio.voice import Voice  # noqa: PLC0415 (brings codecs that most services do not need)

    try:
        return Voice.from_audio(audio, apart=True, owner=tenant), blake2b(audio, digest_size=32).hexdigest()
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="audio_sample") from None
