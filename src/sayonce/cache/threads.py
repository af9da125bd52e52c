"""Threads for what blocks: computations, some of which wait for others, and the files that identify a call.

A computation that waits for another's value lends its slot meanwhile. In a plain pool all threads may be taken by
computations that wait for ones which wait for a thread, and nothing would ever end. Whatever else the process does in
the event loop's own threads, such as calls that wait for values of this cache, keeps none from being computed.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from sayonce.cache.compute_errors import CarryErrors

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

COMPUTATIONS: Final = min(32, (os.cpu_count() or 1) + 4)
"""At once, for callers that cost no thread: as many as asyncio's own pool would run."""
_READERS: Final = 8
_UNBOUNDED: Final = 1 << 20
"""Slots bound the computations; a thread that waits must not be the last one."""

CLOSED: Final = "the cache is closed: nothing is computed or read for it any more"


class Threads:
    """The threads of one cache.

    Args:
        computations: how many run at once, without those that wait for another value.

    """

    def __init__(self, computations: int = COMPUTATIONS) -> None:
        self._free = computations
        self._closed = False
        self._lock = threading.Lock()
        self._first: deque[Future[None]] = deque()
        self._rest: deque[Future[None]] = deque()
        self._start()

    def _start(self) -> None:
        self._computing = ThreadPoolExecutor(_UNBOUNDED, thread_name_prefix="sayonce-compute")
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="sayonce-read")

    def open(self) -> None:
        """Run again what is asked for, also after ``close``."""
        if self._closed:
            self._start()
            self._closed = False

    async def read(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run what waits for nothing but the disk.

        Raises:
            RuntimeError: the cache is closed.

        """
        if self._closed:
            raise RuntimeError(CLOSED)
        return await asyncio.get_running_loop().run_in_executor(self._reading, copy_context().run, function, *args)

    async def compute(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a computation once there is a slot for it; first come those that another one waits for."""
        await self._turn()
        context = copy_context()
        slot = _Slot(self)
        context.run(_current.set, slot)
        running = self._computing.submit(partial(context.run, partial(_carried, function, *args)))
        running.add_done_callback(slot.leave)  # and not when the caller is cancelled
        return await asyncio.wrap_future(running)

    async def _turn(self) -> None:
        turn: Future[None] = Future()
        waiting = self._rest if _current.get() is None else self._first
        waiting.append(turn)
        self.change(0)
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.change(1)
            raise

    def change(self, slots: int) -> None:
        """Count slots that became free, or were taken back, and start as many computations as there are slots."""
        with self._lock:
            self._free += slots
            while self._free > 0 and (waiting := self._first or self._rest):
                turn = waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    self._free -= 1
                    turn.set_result(None)

    def close(self) -> None:
        """Let idle threads end; what is under way is finished."""
        self._closed = True
        for pool in (self._computing, self._reading):
            pool.shutdown(wait=False)


def _carried(function: Callable[[*Ts], T], *args: *Ts) -> T:
    with CarryErrors():
        return function(*args)


class _Slot:
    """A computation's slot, lent while it waits for anything."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._waits = 0
        self._left = False

    def wait(self, change: int) -> None:
        with self._lock:
            was_held = self._held
            self._waits += change
            self._threads.change(was_held - self._held)

    def leave(self, _: Future[Any]) -> None:
        with self._lock:
            was_held, self._left = self._held, True
            self._threads.change(was_held)

    @property
    def _held(self) -> bool:
        return not (self._left or self._waits)


_current: ContextVar[_Slot | None] = ContextVar("slot", default=None)
"""Of the computation that this code runs for; it follows a call from a thread into an event loop."""


@contextmanager
def waiting() -> Iterator[None]:
    """Lend the slot of the computation that waits here, if it is one."""
    slot = _current.get()
    if slot is None:
        yield
        return
    slot.wait(1)
    try:
        yield
    finally:
        slot.wait(-1)
