"""Threads of their own for what clients send along: reference audio, and other requests of megabytes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar, TypeVarTuple

from sayonce.errors import DecodersBusy

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREADS: Final = max(1, (os.cpu_count() or 1) // 2)
_QUEUE: Final = 32


class Decoding:
    """Runs what works through a client's megabytes, so that it delays nobody's speech: encoders have other threads.

    Args:
        threads: how many run at once.
        queue: how many may wait.

    """

    def __init__(self, threads: int = _THREADS, queue: int = _QUEUE) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sayonce-decode")
        self._free = threads + queue
        self._lock = threading.Lock()

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function in its turn.

        Raises:
            DecodersBusy: too many wait.

        """
        with self._lock:
            if not self._free:
                raise DecodersBusy("as much reference audio as may wait is being decoded; try again")
            self._free -= 1
        running = self._threads.submit(partial(copy_context().run, function, *args))
        running.add_done_callback(self._done)  # and not when the caller is cancelled: the thread goes on
        try:
            return await asyncio.wrap_future(running)
        finally:
            del running  # it has the error, whose traceback has this frame: a cycle around a client's megabytes

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._free += 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
