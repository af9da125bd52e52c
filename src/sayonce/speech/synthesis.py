"""From a request to its sound: one take for each utterance, and every format derived from it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec

from sayonce.audio.decode.thread_pool import DecoderThreads
from sayonce.audio.encode.encoders import Encoders, transcode
from sayonce.audio.formats import FORMATS, RENDERINGS, Format
from sayonce.cache import Answer, Cache, Flight, Keep, Made, Removed
from sayonce.core.counters import Counter, Operation
from sayonce.core.decision import DEFAULT, Policy
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.core.tracer import Tracer
from sayonce.errors import BadAudio, CallerError, EngineError, EngineTimeout, NotCached, SayonceError
from sayonce.speech import identity
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import AudioStart, Engine, Utterance
from sayonce.speech.engines.bounds import LARGE, check_shape, is_large
from sayonce.speech.engines.fields import REFERENCE_FIELDS
from sayonce.speech.engines.runtime.slots import Slots
from sayonce.speech.packing import PCM, SILENCE_TTL, TAKE_FORMATS, TakeForm, pack
from sayonce.speech.request import SpeechRequest, parse_request
from sayonce.speech.voices import MAX_BYTES, VoiceBook

log = logging.getLogger("sayonce.speech")

_REFUSED_SECONDS: Final = 5.0
_REMEMBERED_REFUSALS: Final = 1000
_RECENT_TAKES: Final = 256
_FIRST_PART: Final = 16
_FIRST_SAMPLES: Final = 1500
"""What is encoded first, when a sentence comes at once: a part of a second, or so many samples; LAME gives nothing for
fewer than 1,400."""
_LONG_BYTES: Final = 96_000
"""So much of a take is resampled in a millisecond, within the event loop: a thread would cost as much for less."""
_LISTENERS_FIRST_SECONDS: Final = 0.001
"""How long a whole take waits to be packed: an engine may have given it at once, and its first bytes are on their way."""
_LONG_MARKDOWN: Final = 1000
"""So many characters of it are read in 1 to 8 ms."""
_SILENT: Final = AudioStart(24_000)
_SILENT_PART: Final = 5
"""What part of a second a text is that has nothing to speak: players take less for a broken file."""
_MAX_TAKE_BYTES: Final = 256_000_000
"""About 90 minutes at 24 kHz; an engine that goes on beyond it is taken for broken."""


class Plan(msgspec.Struct, frozen=True):
    """A request with its identity: the key of its take, and of the clip in the format asked for."""

    request: SpeechRequest
    tenant: str
    take_key: Digest
    clip_key: Digest

    @property
    def flight_key(self) -> Digest:
        """The key of the computation that derives the clip from its take, also where the take is the clip."""
        if self.clip_key is not self.take_key:
            return self.clip_key
        return identity.derivative(self.take_key, self.request.format)

    @property
    def may_be_stored(self) -> bool:
        """Whether a store may have the clip itself: silence, and what is lossless and not the take, is kept in memory alone."""
        return not self.request.is_silence and (self.clip_key is self.take_key or not self.request.format.lossless)

    def fits(self, entry: Entry) -> bool:
        """Whether an entry under the clip's key is in the format asked for: a server may have given another."""
        return self.clip_key is not self.take_key or entry.media_type == self.request.format.media_type


class Synthesizer:
    """Answers speech requests from the cache, or from the engines that the catalogue names."""

    def __init__(
        self,
        cache: Cache,
        catalogue: Catalogue,
        *,
        take: TakeForm = "flac",
        engine_timeout_seconds: float = 300.0,
        voices_max_bytes: int = MAX_BYTES,
        silence_ttl: timedelta = SILENCE_TTL,
    ) -> None:
        self.cache = cache
        self.catalogue = catalogue
        self.take: TakeForm = take
        self.decoding = DecoderThreads()
        self.voices = VoiceBook(cache, max_bytes=voices_max_bytes, decoding=self.decoding)
        self._unproven: set[str] = set()
        self._silence_ttl = silence_ttl
        self._refused: dict[bytes, tuple[float, CallerError]] = {}
        self._timeout_seconds = engine_timeout_seconds
        self.slots = {engine.name: _slots(engine) for engine in catalogue.engines}
        self.recent: deque[tuple[Digest, dict[str, Any]]] = deque(maxlen=_RECENT_TAKES)
        """Keys and documents of the newest takes, in this process's memory alone and until a purge, for ``explain``."""
        cache.on_purge(self.recent.clear)
        self._encoders = Encoders()
        self._plain = all(engine.text == "plain" for engine in catalogue.engines)
        self._identities = {engine.name: dict(engine.identity()) for engine in catalogue.engines}
        self._loading: set[asyncio.Task[None]] = set()

    def parse(self, fields: Mapping[str, Any], tenant: str = "", asked: float = math.inf) -> SpeechRequest:
        """Check a request's fields against its engine, the tenant's uploaded voices being known by name.

        ``asked`` is when the request came, where the names may have been read since (``View.covers``).
        """
        return parse_request(fields, self.catalogue, self.voices.known_to(tenant, asked), tenant)

    async def learn_voices(self) -> None:
        """Take over the names of uploaded voices as the store has them, where an engine speaks in such voices."""
        if self.catalogue.clones:
            await self.cache.attempt(Operation.REFRESH, self.voices.refresh)
            await self.cache.settle_view()  # last, as it is good for half a second only

    def plan(self, request: SpeechRequest, tenant: str = "") -> Plan:
        """Return the request with its keys: pure, and the greater part of what a hit costs."""
        take_key = self.cache.key(self.document(request, tenant))
        own = request.format == self._take_format(request.engine)
        return Plan(request, tenant, take_key, take_key if own else identity.derivative(take_key, request.format))

    async def plan_fields(self, fields: Mapping[str, Any], tenant: str = "", asked: float = math.inf) -> Plan:
        """Return the plan of a request's fields; what takes long to read is read beside the event loop."""
        characters = check_shape(fields)
        has_reference = self.catalogue.clones and not REFERENCE_FIELDS.isdisjoint(fields)
        if has_reference or characters > (LARGE if self._plain else _LONG_MARKDOWN):
            return await self.decoding.run(tenant, self._planned, fields, tenant, asked)
        return self._planned(fields, tenant, asked)

    def _planned(self, fields: Mapping[str, Any], tenant: str, asked: float) -> Plan:
        return self.plan(self.parse(fields, tenant, asked), tenant)

    def document(self, request: SpeechRequest, tenant: str = "") -> dict[str, Any]:
        """Return the canonical document that a request's take is keyed by."""
        return identity.document(request, tenant, self.take, self._identities[request.engine.name])

    def peek(self, plan: Plan) -> Entry | None:
        """Return the clip if it is in memory, at once."""
        entry = self.cache.peek(plan.clip_key)
        return entry if entry is not None and plan.fits(entry) else None

    async def speak(self, plan: Plan, policy: Policy = DEFAULT) -> Answer:
        """Answer with the clip in the format asked for, stored or as it is made.

        Raises:
            EngineError, CallerError: nothing could be heard.

        """
        return await self.find(plan, policy) or await self.make(plan, policy)

    async def find(self, plan: Plan, policy: Policy = DEFAULT) -> Answer | None:
        """Return the clip if it is stored in the format asked for."""
        ask_store = plan.may_be_stored and not self.cache.under_way(plan.flight_key)
        found = await self.cache.lookup(plan.clip_key, policy, ask_store=ask_store)
        return found if found is not None and found.entry is not None and plan.fits(found.entry) else None

    async def make(self, plan: Plan, policy: Policy = DEFAULT) -> Answer:
        """Answer with the clip as it is derived from its take or spoken, when ``find`` did not; see ``speak``."""
        self._check_refused(plan)
        if policy.only_if_cached and await self.cache.lookup(plan.take_key, policy) is None:
            raise NotCached("nothing is stored for this request, and it asked for only-if-cached")
        outer = msgspec.structs.replace(policy, only_if_cached=False) if policy.only_if_cached else policy
        lead = partial(self._clip, plan, policy)
        tags = identity.tags(plan.request, plan.tenant)  # so that nobody joins it after a purge
        return await self.cache.answer(plan.flight_key, lead, tags=tags, policy=outer, shared=False, looked=True)

    def _check_refused(self, plan: Plan) -> None:
        """Repeat what an engine said a moment ago of the same request: it would say so again."""
        until, error = self._refused.get(plan.take_key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error.twin()

    def _remember_refusal(self, plan: Plan, error: CallerError) -> None:
        while len(self._refused) >= _REMEMBERED_REFUSALS:
            del self._refused[next(iter(self._refused))]
        self._refused[plan.take_key] = (time.monotonic() + _REFUSED_SECONDS, error.twin())

    async def forget(self, take_key: bytes, *, wait: bool = True) -> Removed:
        """Remove a take and everything derived from it; see ``Cache.remove``."""
        for each in RENDERINGS:
            if each.lossless:  # in this memory and in others' alone
                self.cache.drop(identity.derivative(take_key, each))
        stored = [identity.derivative(take_key, each) for each in RENDERINGS if not each.lossless]
        return await self.cache.remove(take_key, *stored, wait=wait)

    # -- engines ----------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Load every engine in the background: what is stored is answered meanwhile."""
        for engine in self.catalogue.engines:
            engine.attach_copies(self.voices.copies)
            task = asyncio.create_task(engine.load())
            self._loading.add(task)
            task.add_done_callback(partial(_loaded, engine))

    def trace(self, tracer: Tracer) -> None:
        """Tell a tracer of what happens, and servers elsewhere of the trace."""
        self.cache.trace(tracer)
        for engine in self.catalogue.engines:
            engine.context_headers = tracer.headers

    async def close(self, timeout_seconds: float | None = None) -> None:
        """Finish what is being spoken, and release the engines; what takes longer is given up."""
        await self.cache.settle(timeout_seconds)
        self.decoding.close()
        for task in self._loading:
            task.cancel()
        for engine in self.catalogue.engines:
            await engine.close()

    # -- leading ----------------------------------------------------------------------------------------------------

    async def _take(self, plan: Plan, policy: Policy, flight: Flight) -> Made:
        """Have the engine speak, and keep the whole as one take; listeners of the flight hear what the engine gives."""
        engine = plan.request.engine
        if plan.request.is_silence:
            return await self._silence(flight)
        async with AsyncExitStack() as turn:
            with flight.queued():
                await turn.enter_async_context(self.slots[engine.name])
                await _ready(engine)
            turn.enter_context(self._counted(engine))
            if not is_large(document := self.document(plan.request, plan.tenant)):
                self.recent.append((plan.take_key, document))
            utterance = await self._utterance(plan, policy)
            started = time.perf_counter()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    head, audio = await _collect(engine, utterance, flight)
            except CallerError as error:
                self._remember_refusal(plan, error)
                raise
            except TimeoutError:
                raise EngineTimeout(f"{engine.name!r} did not finish within {self._timeout_seconds:g} s") from None
            seconds = time.perf_counter() - started
        self.cache.counts.add(Counter.COMPUTED_SECONDS, number=seconds)
        await asyncio.sleep(_LISTENERS_FIRST_SECONDS)
        body, media_type, facts = await asyncio.to_thread(pack, head, audio, self.take)
        if policy.no_cache:
            await self._drop_derivatives(plan)
        facts |= {"engine": engine.name, "model": plan.request.utterance.model, "voice": plan.request.utterance.voice}
        keep, ttl = Keep.EVERYWHERE, None
        if facts.get("silent"):
            self.cache.counts.add(Counter.SILENT_TAKES, engine.name)
            ttl = self._silence_ttl
        if not head.proves_end:
            self._tell_of_ends(engine)
        if not head.proves_end or ttl == timedelta(0):
            keep, facts = Keep.NOWHERE, facts | {"transient": True}
        return Made(body=body, media_type=media_type, about=facts, compute_seconds=seconds, keep=keep, ttl=ttl)

    async def _silence(self, flight: Flight) -> Made:
        """Say nothing for a moment, where a text has nothing to speak: no engine is asked, and no store."""
        flight.begin(msgspec.structs.asdict(_SILENT))
        audio = bytes(2 * _SILENT.sample_rate_hz // _SILENT_PART)
        flight.send(audio)
        body, media_type, facts = await asyncio.to_thread(pack, _SILENT, audio, self.take)
        return Made(body=body, media_type=media_type, about=facts, compute_seconds=0, keep=Keep.MEMORY)

    def _tell_of_ends(self, engine: Engine) -> None:
        if engine.name not in self._unproven:
            self._unproven.add(engine.name)
            log.warning("%r ends its answers by closing the connection: they are heard and not kept", engine.name)

    @contextmanager
    def _counted(self, engine: Engine) -> Iterator[None]:
        """Count a synthesis, its time, and whether it fails: one that is abandoned does not."""
        counts, name, started, failed = self.cache.counts, engine.name, time.perf_counter(), True
        counts.add(Counter.SYNTHESES)
        counts.add(Counter.ENGINE_CALLS, name)
        try:
            with self.cache.tracer.span("engine", engine=name):
                yield
            failed = False
        except (asyncio.CancelledError, CallerError):
            failed = False
            raise
        finally:
            counts.add(Counter.ENGINE_SECONDS, name, number=time.perf_counter() - started)
            counts.add(Counter.ENGINE_FAILURES, name, number=failed)

    async def _utterance(self, plan: Plan, policy: Policy) -> Utterance:
        """Return what the engine is given: with the audio of an uploaded voice, which the key needs only the digest of."""
        utterance = plan.request.utterance
        reference = utterance.reference
        if policy.no_cache or policy.no_store:
            directive = "no-store" if policy.no_store else "no-cache"
            utterance = msgspec.structs.replace(utterance, cache_control=directive)
        if reference is None or reference.audio is not None:
            return utterance
        return msgspec.structs.replace(utterance, reference=await self.voices.fetch_audio(plan.tenant, reference))

    async def _clip(self, plan: Plan, policy: Policy, flight: Flight) -> Made:
        """Derive the format asked for from the take, encoding while the engine still speaks."""
        tags = identity.tags(plan.request, plan.tenant)
        with flight.queued():
            # Nearly always there is no take either, and its flight looks anyway.
            take = await self.cache.answer(
                plan.take_key,
                partial(self._take, plan, policy),
                tags=tags,
                policy=policy,
                looked=not policy.only_if_cached,
            )
        with closing(take):
            flight.credit(take.outcome, take.tier)
            flight.source = take.flight.landing if take.flight is not None else None
            if take.known_entry is None and take.flight is not None:
                media_type = take.flight.head["media_type"]
                if media_type == PCM:
                    return await self._encode_live(plan, take.flight, flight)
                if plan.request.format.holds(media_type):
                    return await _pass_on(plan, take.flight, flight)
            return await _derive(plan, await take.result())

    async def _encode_live(self, plan: Plan, take: Flight, flight: Flight) -> Made:
        head = AudioStart(**take.head)
        audio_format = plan.request.format
        kind = audio_format, head.sample_rate_hz, head.channels
        encoder = self._encoders.take(*kind)
        flight.created, flight.keepable = take.created, head.proves_end
        flight.begin(audio_format.content_type)
        first_bytes = max(head.sample_rate_hz // _FIRST_PART, _FIRST_SAMPLES) * head.channels * 2
        resamples = audio_format.sample_rate_hz not in (None, head.sample_rate_hz)
        async for pcm in take.chunks():
            at_once = audio_format.lossless and not (resamples and len(pcm) > _LONG_BYTES)
            for part in (pcm,) if at_once else _parts(pcm, first_bytes):
                encoded = encoder.feed(part) if at_once else await asyncio.to_thread(encoder.feed, part)
                if encoded:
                    flight.send(encoded)
        entry = await take.result()
        last, body = await asyncio.to_thread(encoder.finish)
        if last:
            flight.send(last)
        if not audio_format.lossless:
            asyncio.get_running_loop().run_in_executor(None, self._encoders.prepare, *kind)
        return _made(plan, entry, body)

    async def _drop_derivatives(self, plan: Plan) -> None:
        """Forget what was derived from an earlier take, but for the format that is being made of the new one."""
        for audio_format in RENDERINGS:
            key = identity.derivative(plan.take_key, audio_format)
            if audio_format == plan.request.format:
                continue
            if audio_format.lossless:
                self.cache.drop(key)  # no store has it
            else:
                await self.cache.discard(key)

    def _take_format(self, engine: Engine) -> Format:
        """Return the format in which a take of this engine is kept."""
        return FORMATS[engine.take_format or TAKE_FORMATS[self.take]]


def _parts(pcm: bytes, first_bytes: int) -> Iterator[bytes]:
    """Cut audio into parts that grow, so that the first is soon encoded and the whole takes few steps."""
    start, size = 0, first_bytes
    while start < len(pcm):
        yield pcm[start : start + size]
        start, size = start + size, 2 * size


def _slots(engine: Engine) -> Slots:
    slots = Slots(engine.capacity, engine.queue, wait_seconds=engine.queue_seconds)
    engine.resized = slots.resize
    return slots


async def _ready(engine: Engine) -> None:
    await engine.ready.wait()
    if engine.failed is not None:
        raise engine.failed


def _loaded(engine: Engine, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("the engine %r cannot be loaded: %s", engine.name, error)
        engine.failed = error if isinstance(error, SayonceError) else EngineError(f"{engine.name!r} cannot be loaded")
    engine.ready.set()


async def _collect(engine: Engine, utterance: Utterance, flight: Flight) -> tuple[AudioStart, bytes]:
    """Pass on what the engine gives as it comes, and return it whole."""
    head: AudioStart | None = None
    chunks: list[bytes] = []
    total_bytes = 0
    async with aclosing(engine.synthesize(utterance)) as audio:
        async for item in audio:
            if isinstance(item, AudioStart):
                head = item
                continue
            assert head is not None
            if item and not total_bytes:
                flight.begin(msgspec.structs.asdict(head))
            chunks.append(item)
            total_bytes += len(item)
            flight.send(item)
            if total_bytes > _MAX_TAKE_BYTES:
                raise BadAudio(f"{engine.name!r} sent more than {_MAX_TAKE_BYTES} bytes of audio for one text")
    if head is None or not total_bytes:
        raise BadAudio(f"{engine.name!r} gave no audio")
    return head, b"".join(chunks)


async def _pass_on(plan: Plan, take: Flight, flight: Flight) -> Made:
    """Send audio that the engine gives in the very format asked for as it comes."""
    flight.created, flight.keepable = take.created, AudioStart(**take.head).proves_end
    flight.begin(take.head["media_type"])
    async for chunk in take.chunks():
        flight.send(chunk)
    entry = await take.result()
    return _made(plan, entry, entry.body)


async def _derive(plan: Plan, take: Entry) -> Made:
    if plan.request.format.holds(take.media_type):
        return _made(plan, take, take.body)
    return _made(plan, take, await asyncio.to_thread(transcode, take.body, plan.request.format))


def _made(plan: Plan, take: Entry, body: bytes) -> Made:
    """A clip of the take. Uncompressed forms are made from it in a millisecond, so they do not fill a shared store."""
    if take.about.get("transient") or (plan.clip_key is plan.take_key and plan.fits(take)):
        keep = Keep.NOWHERE
    elif plan.request.is_silence or plan.request.format.lossless or take.media_type == plan.request.format.media_type:
        keep = Keep.MEMORY
    else:
        keep = Keep.EVERYWHERE
    about = {**take.about, "take_seconds": take.compute_seconds, "take_bytes": len(take.body)}
    return Made(body=body, media_type=plan.request.format.content_type, about=about, parent=take, keep=keep)
