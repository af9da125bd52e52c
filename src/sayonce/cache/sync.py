"""The blocking facade of the cache: calls from any number of threads into one event loop in a thread of its own.

Nothing is written twice: every method runs the asynchronous cache's own. A forked child, which has no such thread,
starts its own with a cache of its own at its first call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Final, Generic, Self, TypeVar

from sayonce.cache.cache import Cache
from sayonce.cache.compute_errors import CarriedError
from sayonce.cache.invalidation import Obeyed
from sayonce.cache.made import Compute
from sayonce.cache.threads import CLOSED, Threads
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest

T = TypeVar("T")
C = TypeVar("C", bound=Cache)

_COMPUTATIONS: Final = 512
"""At once: a caller's thread waits for each, so the number of callers bounds them."""
_left_by_fork: list[object] = []
"""Threads of the parent process, kept so that nothing finalizes the sockets and files that they share with it."""


class LoopThread:
    """An event loop in a daemon thread, so that an interpreter which exits does not wait for it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._closing = False
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="sayonce-loop", daemon=True)
        self._thread.start()
        self._loop, self._stop = self._started.result()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, wait for it, and return or raise what it does.

        Raises:
            RuntimeError: the cache is closed, or the caller is this thread itself, which would wait for itself.

        """
        own = threading.current_thread() is self._thread
        with self._lock:
            if own or self._closing:
                coroutine.close()
                raise RuntimeError(_FROM_WITHIN if own else CLOSED)
            running = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return running.result()
        except CarriedError as raised:
            error = raised.error
        except BaseException:
            running.cancel()  # an interrupted caller leaves; what it waited for goes on
            raise
        raise error  # outside of the handler, which would become its context

    @property
    def closing(self) -> bool:
        return self._closing

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let no call in any more, run ``last``, wait for the calls under way, and end the thread; idempotent."""
        with self._lock:
            first, self._closing = not self._closing, True
        if first:
            try:
                asyncio.run_coroutine_threadsafe(last(), self._loop).result()
            finally:
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._started.set_result((loop, stop))
        try:
            await stop.wait()
        finally:  # also when a computation raised SystemExit, which ends a loop
            with self._lock:
                self._closing = True
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)


_FROM_WITHIN: Final = (
    "a blocking call from within an async computation of the same cache would wait for itself; "
    "use sayonce.open() in async code"
)


class SyncCache(Generic[C]):
    """A cache for plain code. Use as a context manager; safe to use from many threads at once.

    Args:
        make: makes the cache; called here, and again in a forked child.

    Raises:
        ConfigError: what the cache or its store finds wrong when it opens.

    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._starting = threading.Lock()
        self._thread, self._cache = self._start()

    def _start(self) -> tuple[LoopThread, C]:
        thread, cache = LoopThread(), self._make()
        cache.threads = Threads(_COMPUTATIONS)
        try:
            thread.run(cache.open())
        except BaseException:
            thread.close(cache.close)
            raise
        return thread, cache

    def run(self, operation: Callable[[C], Coroutine[Any, Any, T]]) -> T:
        """Run an operation on the asynchronous cache, on its loop, and wait for it."""
        thread, cache = self._here()
        return thread.run(operation(cache))

    def _here(self) -> tuple[LoopThread, C]:
        """Return the event loop's thread and the cache of this process: after a fork the parent's are of no use."""
        if self._thread.pid != os.getpid():
            with self._starting:
                if self._thread.pid != os.getpid():
                    _left_by_fork.append((self._thread, self._cache))
                    self._thread, self._cache = self._start()
        return self._thread, self._cache

    @property
    def asynchronous(self) -> C:
        """This process's asynchronous cache; its figures may be read in any thread."""
        return self._here()[1]

    @property
    def counters(self) -> dict[str, float]:
        """See ``Cache.counters``."""
        return self._here()[1].counters

    def key(self, document: Any) -> Digest:
        """See ``Cache.key``."""
        return self._here()[1].key(document)

    def fetch(self, key: Any, compute: Compute, *, ttl: timedelta | None = None, tags: Iterable[str] = ()) -> Entry:
        """Return the value of a key, computing it once however many threads ask; see ``Cache.fetch``."""
        return self.run(lambda cache: cache.fetch_carried(key, compute, ttl=ttl, tags=tags))

    def delete(self, key: bytes) -> bool:
        """See ``Cache.delete``."""
        return self.run(lambda cache: cache.delete(key))

    def purge(self, *tags: str, wait: bool = True) -> Obeyed:
        """See ``Cache.purge``."""
        return self.run(lambda cache: cache.purge(*tags, wait=wait))

    def clear(self) -> int:
        """See ``Cache.clear``."""
        return self.run(lambda cache: cache.clear())

    def settle(self) -> None:
        """See ``Cache.settle``."""
        self.run(lambda cache: cache.settle())

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called in this process."""
        return self._thread.pid == os.getpid() and self._thread.closing

    def close(self) -> None:
        """Finish what is under way, write the counters and release the store; idempotent."""
        if self._thread.pid == os.getpid():
            self._thread.close(self._cache.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
