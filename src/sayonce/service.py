"""Put the parts together as the settings say: a store, a cache, engines, and the synthesizer over them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from sayonce.cache import Cache
from sayonce.config import Settings, workers_directory
from sayonce.core.clock import Clock
from sayonce.core.counters import Operation
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.errors import ConfigError, MissingExtra
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import KINDS, Engine, build_engine
from sayonce.speech.engines.indextts2 import IndexTTS2Engine
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores import open_store
from sayonce.stores.base import SealedStore, Store
from sayonce.stores.memory import MemoryStore

if TYPE_CHECKING:
    from sayonce.stores.blobs.store import BlobStore
    from sayonce.stores.blobs.sweeper import Sweeper

_EMBEDDED: Final = {"hibari": "hibari", "espeak": "espeakng_loader"}
"""Engines that need no configuration, by the module that makes them available; the first is the default."""


class Service:
    """A cache and a synthesizer over the engines; an async context manager that opens, loads and closes them.

    ``engines`` takes the place of those that the settings describe.
    """

    def __init__(
        self, settings: Settings, engines: Iterable[Engine] | None = None, *, clock: Clock = time.time
    ) -> None:
        self.settings = settings
        self.cache = build_cache(settings, clock)
        offered = build_engines(settings) if engines is None else list(engines)
        for engine in offered:
            if isinstance(engine, IndexTTS2Engine):
                engine.adapter = partial(_remembering, self.cache)
        server = settings.server
        catalogue = Catalogue(offered, strict=server.strict, openai_names=server.openai_names)
        self.synthesizer = Synthesizer(
            self.cache,
            catalogue,
            take=settings.audio.take,
            voices_max_bytes=settings.voices.max_bytes,
            silence_ttl=settings.audio.silence_ttl,
        )
        self._sweeper: Sweeper | None = None
        self.asked_to_end: Callable[[], float | None] = lambda: None
        """Returns when the server was asked to end, by ``time.monotonic``; open answers may have taken time since."""

    async def __aenter__(self) -> Self:
        await self.cache.open(checked=True)  # a worker that starts anew must not end the server
        await self.cache.attempt(Operation.REFRESH, self.synthesizer.voices.refresh)
        self.synthesizer.load()
        self.synthesizer.in_use.start()
        self._sweeper = build_sweeper(self.cache.store, self.settings)
        if self._sweeper is not None:
            self._sweeper.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            await self._sweeper.stop()
        await self.synthesizer.in_use.stop()
        await self.synthesizer.close(self._seconds_left())
        await self.cache.close()

    def _seconds_left(self) -> float:
        asked, now = self.asked_to_end(), time.monotonic()
        return max(0.0, (now if asked is None else asked) + self.settings.server.shutdown_timeout.total_seconds() - now)


def _remembering(cache: Cache, model: Any, revision: str) -> Any:
    """Make an IndexTTS2 remember in the cache what it computes from references."""
    from sayonce.features.adapters import indextts2  # noqa: PLC0415 (with NumPy, which a gateway without it does not need)

    return indextts2.wrap(model, cache, revision=revision)


def build_cache(settings: Settings, clock: Clock = time.time) -> Cache:
    """Return the cache that the settings describe, not yet opened.

    Raises:
        ConfigError: the store's URL is wrong, or that of the bodies, or the secret cannot be read.

    """
    secret = Secret(settings.key_secret())
    budget_seconds = settings.store.budget_ms / 1000
    store = open_store(
        settings.store_url,
        sealer=Sealer(secret),
        clock=clock,
        max_bytes=int(settings.store.max_bytes),
        policy=settings.store.policy,
        budget_seconds=budget_seconds,
    )
    if isinstance(store, SealedStore):  # memory holds its bodies itself
        store.bodies = build_blob_store(settings, secret, f"{store.name}-{store.layout}", clock)
    return Cache(
        store,
        memory=MemoryStore(int(settings.memory.max_bytes), settings.memory.policy, clock=clock),
        secret=secret,
        namespace=settings.store.namespace,
        ttl=settings.store.ttl,
        stale=settings.store.stale,
        budget_seconds=budget_seconds,
        offline=settings.store.offline,
        workers=workers_directory(),
        clock=clock,
    )


def build_blob_store(
    settings: Settings, secret: Secret, folder: str = "", clock: Clock = time.time
) -> BlobStore | None:
    """Return the body store that the settings describe, with the bodies in a folder of it; None when there is none.

    Raises:
        ConfigError: its URL is wrong, or its directory cannot be written to.

    """
    bodies = settings.bodies
    if bodies.url is None:
        return None
    from sayonce.stores.blobs.url import open_blob_store  # noqa: PLC0415 (an extra)

    return open_blob_store(
        bodies.url,
        secret=secret,
        folder=folder,
        clock=clock,
        inline_max_bytes=bodies.inline_max_bytes,
        budget_seconds=bodies.budget_ms / 1000,
    )


def build_sweeper(store: Store | None, settings: Settings) -> Sweeper | None:
    """Return the sweeper of a store's bodies; None when the store holds them itself."""
    if not isinstance(store, SealedStore) or store.bodies is None or store.leases is None:
        return None
    from sayonce.stores.blobs.sweeper import Sweeper  # noqa: PLC0415 (an extra)

    return Sweeper(store.addresses, store.leases, store.bodies, max_bytes=settings.bodies.max_bytes)


def build_engines(settings: Settings) -> list[Engine]:
    """Return the engines to serve: the one that ``server.engine`` names, else all configured, else the embedded ones.

    Raises:
        ConfigError: an engine's section is wrong, or there is no such engine.
        MissingExtra: there is none to serve.

    """
    sections = _sections(settings)
    if not sections:
        raise MissingExtra("the embedded voice", "voice")
    return [build_engine(name, options) for name, options in sections.items()]


def _sections(settings: Settings) -> dict[str, dict[str, Any]]:
    chosen = settings.server.engine
    if chosen is None:
        installed = [kind for kind, module in _EMBEDDED.items() if importlib.util.find_spec(module)]
        return settings.engines or {kind: {"kind": kind} for kind in installed}
    if chosen in settings.engines:
        return {chosen: settings.engines[chosen]}
    if chosen in KINDS:
        return {chosen: {"kind": chosen}}
    known = ", ".join(sorted({*settings.engines, *KINDS}))
    raise ConfigError(f"there is no engine {chosen!r}; there is: {known}")
