"""Takes: an engine speaks an utterance once, listeners hear it meanwhile, and the whole is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec

from sayonce.audio.formats import FORMATS, RENDERINGS, Format
from sayonce.cache import Cache, Flight, Keep, Made
from sayonce.core.cache_control import Policy
from sayonce.core.counters import Counter
from sayonce.core.key import Digest
from sayonce.errors import BadAudio, CallerError, EngineTimeout
from sayonce.speech import identity
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import AudioStart, Engine, Utterance
from sayonce.speech.engines.bounds import is_large
from sayonce.speech.engines.runtime.slots import Slots
from sayonce.speech.packing import TAKE_FORMATS, TakeForm, pack
from sayonce.speech.plan import Plan
from sayonce.speech.refusals import Refusals
from sayonce.speech.request import SpeechRequest
from sayonce.speech.voices import UploadedVoices

log = logging.getLogger("sayonce.speech")

_RECENT: Final = 256
_LISTENERS_FIRST_SECONDS: Final = 0.001
"""How long a whole take waits to be packed: an engine may have given it at once, and its first bytes are on their way."""
_MAX_BYTES: Final = 256_000_000
"""About 90 minutes at 24 kHz; an engine that goes on beyond it is taken for broken."""
_SILENT: Final = AudioStart(24_000)
_SILENT_PART: Final = 5
"""The part of a second that a text with nothing to speak lasts: players take less for a broken file."""


class Takes:
    """Has engines speak, each utterance in one of the engine's slots."""

    def __init__(
        self,
        cache: Cache,
        catalogue: Catalogue,
        voices: UploadedVoices,
        *,
        form: TakeForm,
        timeout_seconds: float,
        silence_ttl: timedelta,
        load: Callable[[Engine], None],
    ) -> None:
        """``load`` begins to load an engine that is not loaded yet."""
        self.form: TakeForm = form
        self.refusals = Refusals()
        self.slots = {engine.name: _slots(engine) for engine in catalogue.engines}
        self.recent: deque[tuple[Digest, dict[str, Any]]] = deque(maxlen=_RECENT)
        """Keys and documents of the newest takes, in this process's memory alone and until a purge, for ``explain``."""
        cache.on_purge(self.recent.clear)
        self._cache = cache
        self._voices = voices
        self._timeout_seconds = timeout_seconds
        self._silence_ttl = silence_ttl
        self._load = load
        self._identities = {engine.name: dict(engine.identity()) for engine in catalogue.engines}
        self._unproven: set[str] = set()

    def document(self, request: SpeechRequest, tenant: str = "") -> dict[str, Any]:
        """Return the canonical document that a request's take is keyed by."""
        return identity.document(request, tenant, self.form, self._identities[request.engine.name])

    def format_of(self, engine: Engine) -> Format:
        """Return the format in which a take of this engine is kept."""
        return FORMATS[engine.take_format or TAKE_FORMATS[self.form]]

    async def make(self, plan: Plan, policy: Policy, flight: Flight) -> Made:
        """Have the engine speak, and keep the whole as one take; listeners of the flight hear what the engine gives.

        Raises:
            EngineError, CallerError: the engine failed, or would not speak this.

        """
        if plan.request.is_silence:
            return await self._silence(flight)
        head, audio, seconds = await self._spoken(plan, policy, flight)
        self._cache.counts.add(Counter.COMPUTED_SECONDS, number=seconds)
        await asyncio.sleep(_LISTENERS_FIRST_SECONDS)
        body, media_type, facts = await asyncio.to_thread(pack, head, audio, self.form)
        utterance, engine = plan.request.utterance, plan.request.engine
        facts |= {"engine": engine.name, "model": utterance.model, "voice": utterance.voice}
        keep, ttl = self._keeping(engine, head, silent=bool(facts.get("silent")))
        if flight.renews and ttl is not None:  # silent: the older take is played on
            keep = Keep.NOWHERE
        if policy.no_cache or (flight.renews and keep is Keep.EVERYWHERE):
            await self._drop_other_clips(plan)
        if keep is Keep.NOWHERE:
            facts |= {"transient": True}
        return Made(body=body, media_type=media_type, about=facts, compute_seconds=seconds, keep=keep, ttl=ttl)

    async def _spoken(self, plan: Plan, policy: Policy, flight: Flight) -> tuple[AudioStart, bytes, float]:
        """Return an utterance's sound, and the seconds that the engine took, once a slot of the engine was free."""
        engine = plan.request.engine
        async with AsyncExitStack() as turn:
            with flight.queued():
                slots = self.slots[engine.name]
                lets_pass = flight.renews and not flight.hurried
                await turn.enter_async_context(slots.behind(flight.on_hurry) if lets_pass else slots)
                self._load(engine)
                await _ready(engine)
            turn.enter_context(self._counted(engine))
            self._note(plan)
            utterance = await self._utterance(plan, policy)
            started = time.perf_counter()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    head, audio = await _collect(engine, utterance, flight)
            except CallerError as error:
                self.refusals.remember(plan.take_key, error)
                raise
            except TimeoutError:
                raise EngineTimeout(f"{engine.name!r} did not finish within {self._timeout_seconds:g} s") from None
            return head, audio, time.perf_counter() - started

    def _note(self, plan: Plan) -> None:
        if not is_large(document := self.document(plan.request, plan.tenant)):
            self.recent.append((plan.take_key, document))

    def _keeping(self, engine: Engine, head: AudioStart, *, silent: bool) -> tuple[Keep, timedelta | None]:
        """Return where a take is kept, and for how long: what may be half an utterance is kept nowhere."""
        ttl = None
        if silent:
            self._cache.counts.add(Counter.SILENT_TAKES, engine.name)
            ttl = self._silence_ttl
        if not head.proves_end:
            self._tell_of_ends(engine)
        nowhere = not head.proves_end or ttl == timedelta(0)
        return (Keep.NOWHERE if nowhere else Keep.EVERYWHERE), ttl

    def _tell_of_ends(self, engine: Engine) -> None:
        if engine.name not in self._unproven:
            self._unproven.add(engine.name)
            log.warning("%r ends its answers by closing the connection: they are heard and not kept", engine.name)

    async def _silence(self, flight: Flight) -> Made:
        """Say nothing for a moment, where a text has nothing to speak: no engine is asked, and no store."""
        flight.begin(_SILENT)
        audio = bytes(2 * _SILENT.sample_rate_hz // _SILENT_PART)
        flight.send(audio)
        body, media_type, facts = await asyncio.to_thread(pack, _SILENT, audio, self.form)
        return Made(body=body, media_type=media_type, about=facts, compute_seconds=0)

    @contextmanager
    def _counted(self, engine: Engine) -> Iterator[None]:
        """Count a synthesis, its time, and whether it fails: one that is abandoned does not."""
        counts, name, started, failed = self._cache.counts, engine.name, time.perf_counter(), True
        counts.add(Counter.SYNTHESES)
        counts.add(Counter.ENGINE_CALLS, name)
        try:
            with self._cache.tracer.span("engine", engine=name):
                yield
            failed = False
        except (asyncio.CancelledError, CallerError):
            failed = False
            raise
        finally:
            counts.add(Counter.ENGINE_SECONDS, name, number=time.perf_counter() - started)
            counts.add(Counter.ENGINE_FAILURES, name, number=failed)

    async def _utterance(self, plan: Plan, policy: Policy) -> Utterance:
        """Return the utterance as the engine gets it: with the audio of an uploaded voice, which keys do without."""
        utterance = plan.request.utterance
        reference = utterance.reference
        if policy.no_cache or policy.no_store:
            directive = "no-store" if policy.no_store else "no-cache"
            utterance = msgspec.structs.replace(utterance, cache_control=directive)
        if reference is None or reference.audio is not None:
            return utterance
        return msgspec.structs.replace(utterance, reference=await self._voices.fetch_audio(plan.tenant, reference))

    async def _drop_other_clips(self, plan: Plan) -> None:
        """Forget what was derived from an earlier take, but for the format that is being made of the new one."""
        for audio_format in RENDERINGS:
            key = identity.derivative(plan.take_key, audio_format)
            if audio_format == plan.request.format:
                continue
            if audio_format.lossless:
                self._cache.drop(key)  # no store has it
            else:
                await self._cache.discard(key)


def _slots(engine: Engine) -> Slots:
    slots = Slots(engine.capacity, engine.queue, wait_seconds=engine.queue_seconds)
    engine.resized = slots.resize
    return slots


async def _ready(engine: Engine) -> None:
    await engine.ready.wait()
    if engine.failed is not None:
        raise engine.failed


async def _collect(engine: Engine, utterance: Utterance, flight: Flight) -> tuple[AudioStart, bytes]:
    """Send the flight's listeners the engine's audio as it comes, and return the whole of it."""
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
                flight.begin(head)
            chunks.append(item)
            total_bytes += len(item)
            flight.send(item)
            if total_bytes > _MAX_BYTES:
                raise BadAudio(f"{engine.name!r} sent more than {_MAX_BYTES} bytes of audio for one text")
    if head is None or not total_bytes:
        raise BadAudio(f"{engine.name!r} gave no audio")
    return head, b"".join(chunks)
