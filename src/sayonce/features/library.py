"""The cache as a library: ``open`` it, ``fetch`` anything by a key, make functions ``remember``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, Final, Never, Self, Unpack

import msgspec

from sayonce import cache as base
from sayonce.cache import sync
from sayonce.cache.cache import DEFAULT_TTL
from sayonce.cache.made import Compute
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.features.arguments import FETCHING, OPENING, check, kept
from sayonce.features.remember import Options, Remember, Remembered, SyncRemember, SyncRemembered, make_task
from sayonce.features.travel import Origin, arrived, note, note_secret, secret_of
from sayonce.stores import open_store
from sayonce.stores.memory import MemoryStore

DEFAULT_URL: Final = "sqlite://"
MEMORY_BYTES: Final = 256_000_000


class _Travelling:
    """A cache that is pickled as how it was opened, and copied as itself."""

    @property
    def origin(self) -> Origin | None:
        """How it was opened; None where ``open`` and ``open_sync`` did not make it."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return _arrive, (_known(self.origin),)

    def __deepcopy__(self, _: Any) -> Self:
        return self


class Cache(_Travelling, base.Cache):
    """Remembers values under the digests of their documents, and the values of functions.

    Made by ``sayonce.open``; use as an async context manager. Pickled, it becomes the cache that the other process has
    of the same store, and opens itself at the first call of a remembered function there.
    """

    origin: Origin | None = None

    async def here(self) -> base.Cache:
        """Return the open cache of the running event loop, opened at its first call where this one has travelled."""
        if not self.travelled:
            return self
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            for ended in [each for each in self._of_loops if each.is_closed()]:
                del self._of_loops[ended]
            lifetime = self._lifetime(loop)
            self._of_loops[loop] = lifetime, asyncio.ensure_future(anext(lifetime))
        _, opening = self._of_loops[loop]
        return await asyncio.shield(opening)

    async def _lifetime(self, loop: asyncio.AbstractEventLoop) -> AsyncIterator[base.Cache]:
        """Open a cache for an event loop; ``asyncio.run`` closes it at the loop's end, as all asynchronous generators."""
        try:
            async with _open(_known(self.origin)) as cache:
                yield cache
        finally:
            self._of_loops.pop(loop, None)

    @cached_property
    def _of_loops(
        self,
    ) -> dict[asyncio.AbstractEventLoop, tuple[AsyncIterator[base.Cache], asyncio.Future[base.Cache]]]:
        return {}

    async def fetch_carried(
        self, key: Any, compute: Compute, *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> Entry:
        tags = kept(tags)
        check(FETCHING, compute=compute, tags=tags, **({} if ttl is None else {"ttl": ttl}))
        return await super().fetch_carried(key, compute, ttl=ttl, tags=tags)

    def remember(self, name: str, *, revision: str, **options: Unpack[Options]) -> Remember:
        """Make a function remember its values; it becomes awaitable, and a plain one runs in a thread.

        Args:
            name: what the function computes; with ``revision`` and the arguments it makes the key.
            revision: changed whenever the same arguments may give another value: new weights, other preprocessing.
            **options: see ``Options``.

        Raises:
            Unkeyable: a declared parameter does not exist, or ``self`` is not ignored.
            InvalidRequest: an option is unknown, or of the wrong type or out of range.

        """
        decorator: Remember = _decorator(Remembered, self, name, revision, options)
        return decorator


class SyncCache(_Travelling, sync.SyncCache[Cache]):
    """The same for plain code: every method blocks, and remembered functions stay, or become, plain ones.

    Made by ``sayonce.open_sync``; use as a context manager, from any number of threads. Pickled, it becomes the cache
    that the other process has of the same store, opened there if it has none.
    """

    @property
    def origin(self) -> Origin:
        """How it was opened."""
        return _known(self._cache.origin)

    def remember(self, name: str, *, revision: str, **options: Unpack[Options]) -> SyncRemember:
        """Make a function remember its values; see ``Cache.remember``."""
        decorator: SyncRemember = _decorator(SyncRemembered, self, name, revision, options)
        return decorator


def _decorator(kind: Callable[..., Any], cache: Cache | SyncCache, name: str, revision: str, options: Options) -> Any:
    """Return a decorator; the overloads of ``Remember`` say what it keeps of the function's type."""

    def decorate(function: Callable[..., Any]) -> Any:
        return kind(cache, make_task(function, name, revision, options))

    return decorate


def open(  # noqa: A001 (sayonce.open is its name)
    url: str = DEFAULT_URL,
    *,
    namespace: str = "",
    secret: bytes | str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    ttl: timedelta = DEFAULT_TTL,
    **unknown: Never,
) -> Cache:
    """Return a cache over a store, opened by ``async with``.

    Args:
        url: ``sqlite://`` (one file at the default path), ``sqlite:///file.db``, ``redis://host:6379``,
            ``rediss://…``, or ``memory://``.
        namespace: caches of different namespaces share nothing.
        secret: makes keys that cannot be guessed and values that cannot be forged; the same wherever they are shared.
        memory_bytes: bound of the memory tier before the store; 0 for none.
        ttl: how long values are kept, unless told otherwise with them.
        **unknown: refused, so that a misspelt argument is told like any other wrong one.

    Raises:
        ConfigError: the URL is none of the valid forms.
        InvalidRequest: an argument is unknown, or of the wrong type or out of range.

    """
    check(OPENING, **unknown)
    origin = _origin(url, namespace, secret, memory_bytes, ttl, blocking=False)
    return _open(origin)


def open_sync(
    url: str = DEFAULT_URL,
    *,
    namespace: str = "",
    secret: bytes | str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    ttl: timedelta = DEFAULT_TTL,
    **unknown: Never,
) -> SyncCache:
    """Return an open cache for plain code; see ``open``.

    Raises:
        ConfigError: the URL is none of the valid forms, or the store cannot be opened.
        InvalidRequest: an argument is unknown, or of the wrong type or out of range.

    """
    check(OPENING, **unknown)
    cache = _open_sync(_origin(url, namespace, secret, memory_bytes, ttl, blocking=True))
    note(cache.origin, cache)
    return cache


def _origin(
    url: str, namespace: str, secret: bytes | str | None, memory_bytes: int, ttl: timedelta, *, blocking: bool
) -> Origin:
    check(OPENING, url=url, namespace=namespace, secret=secret, memory_bytes=memory_bytes, ttl=ttl)
    digest = note_secret(secret.encode() if isinstance(secret, str) else secret or b"")
    return Origin(url, namespace, digest, memory_bytes, ttl.total_seconds(), blocking)


def _open(origin: Origin) -> Cache:
    keys = Secret(secret_of(origin.secret_digest))
    store = open_store(origin.url, sealer=Sealer(keys))
    memory, ttl = MemoryStore(origin.memory_bytes), timedelta(seconds=origin.ttl_seconds)
    cache = Cache(store, memory=memory, secret=keys, namespace=origin.namespace, ttl=ttl)
    cache.origin = origin
    return cache


def _open_sync(origin: Origin) -> SyncCache:
    return SyncCache(partial(_open, origin))


def _known(origin: Origin | None) -> Origin:
    if origin is None:
        raise TypeError("this cache cannot travel: only one that sayonce.open or sayonce.open_sync made can")
    return origin


def for_engine(cache: base.Cache | SyncCache) -> Any:
    """Return the cache in a form that arrives in another process as one for plain code.

    Raises:
        TypeError: the cache was not made by ``open`` or ``open_sync``.

    """
    return cache if isinstance(cache, SyncCache) else _Blocking(_known(getattr(cache, "origin", None)))


class _Blocking:
    """A cache on its way to engines in another process, which have no event loop."""

    def __init__(self, origin: Origin) -> None:
        self._origin = msgspec.structs.replace(origin, blocking=True)

    def __reduce__(self) -> Any:
        return _arrive, (self._origin,)


def _arrive(origin: Origin) -> Any:
    if origin.blocking:
        return arrived(origin, _open_sync)
    cache = _open(origin)
    cache.travelled = True
    return cache
