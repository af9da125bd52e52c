"""The cache as a library: ``open`` it, ``fetch`` anything by a key, make functions ``remember``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Unpack

from sayonce import cache as base
from sayonce.cache import portal
from sayonce.cache.cache import DEFAULT_TTL
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.features.remember import Options, Remember, Remembered, SyncRemember, SyncRemembered, make_task
from sayonce.stores import open_store
from sayonce.stores.memory import MemoryStore

DEFAULT_URL: Final = "sqlite://"
MEMORY_BYTES: Final = 256_000_000


class Cache(base.Cache):
    """Remembers values under the digests of their documents, and the values of functions.

    Made by ``sayonce.open``; use as an async context manager.
    """

    def remember(self, name: str, *, revision: str, **options: Unpack[Options]) -> Remember:
        """Make a function remember its values; it becomes awaitable, and a plain one runs in a thread.

        Args:
            name: what the function computes; with ``revision`` and the arguments it makes the key.
            revision: changed whenever the same arguments may give another value: new weights, other preprocessing.
            **options: see ``Options``.

        Raises:
            Unkeyable: a declared parameter does not exist, or ``self`` is not ignored.

        """

        def decorate(function: Callable[..., Any]) -> Remembered[..., Any]:
            return Remembered(self, make_task(function, name, revision, options))

        return decorate  # type: ignore[return-value] # its overloads say what this keeps of the function's type


class SyncCache(portal.SyncCache[Cache]):
    """The same for plain code: every method blocks, and remembered functions stay, or become, plain ones.

    Made by ``sayonce.open_sync``; use as a context manager, from any number of threads.
    """

    def remember(self, name: str, *, revision: str, **options: Unpack[Options]) -> SyncRemember:
        """Make a function remember its values; see ``Cache.remember``."""

        def decorate(function: Callable[..., Any]) -> SyncRemembered[..., Any]:
            return SyncRemembered(self, make_task(function, name, revision, options))

        return decorate  # type: ignore[return-value] # its overloads say what this keeps of the function's type


def open_cache(
    url: str = DEFAULT_URL,
    *,
    namespace: str = "",
    secret: bytes | str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    ttl: timedelta = DEFAULT_TTL,
) -> Cache:
    """Return a cache over a store, opened by ``async with``.

    Args:
        url: ``sqlite://`` (one file at the default place), ``sqlite:///file.db``, ``redis://host:6379``,
            ``rediss://…``, or ``memory://``.
        namespace: caches of different namespaces share nothing.
        secret: makes keys that cannot be guessed and values that cannot be forged; the same wherever they are shared.
        memory_bytes: bound of the memory tier before the store; 0 for none.
        ttl: how long values are kept, unless told otherwise with them.

    Raises:
        ConfigError: the URL is none of the valid forms.

    """
    keys = Secret(secret.encode() if isinstance(secret, str) else secret or b"")
    store = open_store(url, sealer=Sealer(keys))
    return Cache(store, memory=MemoryStore(memory_bytes), secret=keys, namespace=namespace, ttl=ttl)


def open_sync(
    url: str = DEFAULT_URL,
    *,
    namespace: str = "",
    secret: bytes | str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    ttl: timedelta = DEFAULT_TTL,
) -> SyncCache:
    """Return an open cache for plain code; see ``open``.

    Raises:
        ConfigError: the URL is none of the valid forms, or the store cannot be opened.

    """
    return SyncCache(lambda: open_cache(url, namespace=namespace, secret=secret, memory_bytes=memory_bytes, ttl=ttl))
