"""A thread pool for large input of clients: it decodes reference audio, and parses large requests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Final, TypeVar, TypeVarTuple

from sayonce.errors import DecodersBusy

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREADS: Final = max(1, (os.cpu_count() or 1) // 2)
_QUEUE: Final = 32


class DecoderThreads:
    """Runs the work on clients' megabytes, so that it delays no speech: encoders have other threads.

    Tenants take turns, and none may have more than half of the queue.

    Args:
        threads: how many functions run at once.
        queue: how many callers may wait.

    """

    def __init__(self, threads: int = _THREADS, queue: int = _QUEUE) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sayonce-decode")
        self._free_slots = threads
        self._queue = queue
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """The queue of each tenant; the next tenant in turn comes first."""

    async def run(self, tenant: str, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function for a tenant, in its turn.

        Raises:
            DecodersBusy: too many wait.

        """
        await self._turn(tenant)
        running = self._threads.submit(partial(copy_context().run, function, *args))
        # When it is done, and not when the caller is cancelled: the thread goes on.
        running.add_done_callback(partial(self._done, asyncio.get_running_loop()))
        try:
            return await asyncio.wrap_future(running)
        finally:
            del running  # its error's traceback has this frame: a cycle that would hold a client's megabytes

    async def _turn(self, tenant: str) -> None:
        if self._free_slots:
            self._free_slots -= 1
            return
        mine = self._waiting.get(tenant, ())
        if len(mine) >= (self._queue + 1) // 2 or sum(map(len, self._waiting.values())) >= self._queue:
            raise DecodersBusy("as much reference audio as may wait is being decoded; try again")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(tenant, turn)
            else:
                self._next()  # it had just come
            raise

    def _leave(self, tenant: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting[tenant]
        turns.remove(turn)
        if not turns:
            del self._waiting[tenant]

    def _done(self, loop: asyncio.AbstractEventLoop, _: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._next)

    def _next(self) -> None:
        """Give a free slot to the tenant that has waited longest for a turn."""
        if not self._waiting:
            self._free_slots += 1
            return
        tenant, turns = self._waiting.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._waiting[tenant] = turns
        turn.set_result(None)

    def close(self) -> None:
        """End at once, also the decodings in a subprocess."""
        for turn in [turn for turns in self._waiting.values() for turn in turns]:
            turn.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        decoder = sys.modules.get("sayonce.audio.decode.subprocess_decoder")
        if decoder is not None:  # else nothing was decoded, and the import of NumPy is saved
            decoder.close()
