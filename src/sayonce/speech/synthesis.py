"""From a request to its sound: planned, looked up, and else derived from a take or spoken."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sayonce.audio.decode.thread_pool import DecoderThreads
from sayonce.audio.formats import RENDERINGS
from sayonce.cache import Answer, Cache, Lookup, Removed, Scope, never_stale
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.counters import Operation
from sayonce.core.envelope import Entry
from sayonce.core.tracer import Tracer
from sayonce.errors import EngineError, SayonceError
from sayonce.speech import identity
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.derive import Clips
from sayonce.speech.engines import Engine
from sayonce.speech.engines.bounds import LARGE, check_shape
from sayonce.speech.engines.fields import REFERENCE_FIELDS
from sayonce.speech.in_use import ClipsInUse
from sayonce.speech.packing import SILENCE_TTL, TakeForm
from sayonce.speech.plan import Plan, plays_on
from sayonce.speech.request import SpeechRequest, parse_request
from sayonce.speech.takes import Takes
from sayonce.speech.voices import MAX_BYTES, UploadedVoices

log = logging.getLogger("sayonce.speech")

_LONG_MARKDOWN: Final = 1000
"""So many characters of it are read in 1 to 8 ms."""


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
        self.decoding = DecoderThreads()
        self.voices = UploadedVoices(cache, max_bytes=voices_max_bytes, decoding=self.decoding)
        self.takes = Takes(
            cache,
            catalogue,
            self.voices,
            form=take,
            timeout_seconds=engine_timeout_seconds,
            silence_ttl=silence_ttl,
            load=self._load,
        )
        self.document = self.takes.document
        self.in_use = ClipsInUse(cache, self.lookup)
        self._clips = Clips()
        self._plain = all(engine.text == "plain" for engine in catalogue.engines)
        self._loading: dict[str, asyncio.Task[None]] = {}

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
        own = request.format == self.takes.format_of(request.engine)
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

    def peek(self, plan: Plan) -> Entry | None:
        """Return the clip if it is in memory, at once."""
        entry = self.cache.peek(plan.clip_key)
        return entry if entry is not None and plan.fits(entry) else None

    def lookup(self, plan: Plan, policy: Policy = DEFAULT) -> Lookup:
        """Return what answers a plan: the clip in the format asked for, derived from its take.

        What is lossless is made of the take again in a millisecond, so it is kept in memory alone, as is silence, and
        is never stale itself.
        """
        silence, own = plan.request.is_silence, plan.clip_key is plan.take_key
        local = silence or plan.request.format.lossless
        take = Lookup(
            plan.take_key,
            partial(self.takes.make, plan, policy),
            policy,
            tags=plan.tags,
            scope=Scope.LOCAL if silence else Scope.SHARED,
            stale=plays_on,
        )
        return Lookup(
            plan.flight_key,
            partial(self._clips.make, plan),
            policy,
            tags=plan.tags,  # so that nobody joins it after a purge
            scope=Scope.LOCAL if local else Scope.SHARED,
            parents=(take,),
            fits=plan.fits if own else None,
            check=partial(self.takes.refusals.check, plan.take_key),
            stale=plays_on if own or not local else never_stale,
        )

    async def speak(self, plan: Plan, policy: Policy = DEFAULT) -> Answer:
        """Answer with the clip in the format asked for, stored or as it is made.

        Raises:
            EngineError, CallerError: nothing could be heard.

        """
        return await self.cache.answer(self.lookup(plan, policy))

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
            self._load(engine)

    def _load(self, engine: Engine) -> None:
        if engine.name not in self._loading:
            engine.attach_copies(self.voices.copies)
            task = self._loading[engine.name] = asyncio.create_task(engine.load())
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
        for task in self._loading.values():
            task.cancel()
        for engine in self.catalogue.engines:
            await engine.close()


def _loaded(engine: Engine, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("the engine %r cannot be loaded: %s", engine.name, error)
        engine.failed = error if isinstance(error, SayonceError) else EngineError(f"{engine.name!r} cannot be loaded")
    engine.ready.set()
