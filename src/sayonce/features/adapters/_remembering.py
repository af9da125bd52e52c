"""Remembered functions for engines, which are plain code: they block, whichever kind of cache remembers for them."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar, Unpack

from sayonce.cache import Cache
from sayonce.cache.compute_errors import CarryErrors
from sayonce.errors import InvalidRequest, Unkeyable
from sayonce.features.adapters._modes import Modes
from sayonce.features.adapters._state import State
from sayonce.features.bound import Bound
from sayonce.features.library import SyncCache
from sayonce.features.remember import Options, Remembered, SyncRemembered, make_task

P = ParamSpec("P")
T = TypeVar("T")

AnyCache = Cache | SyncCache


class _Call:
    """One call of an engine: what the engine was then, and whether its own code has begun."""

    def __init__(self, state: State) -> None:
        self.modes = Modes.now()
        self.engine = [state.now(), *self.modes.document()]
        self.begun = False


_call: Final[ContextVar[_Call]] = ContextVar("call")
"""Goes with the call into the cache's event loop, and from there into threads."""


class _Stated(Bound):
    """The parts that an engine is bound to, and its state at each call."""

    def document(self) -> dict[str, Any]:
        return super().document() | {"engine": _call.get().engine}


def remembered(
    cache: AnyCache,
    state: State,
    function: Callable[P, T],
    *,
    name: str | None = None,
    revision: str = "",
    bound: Callable[..., Any] | None = None,
    **options: Unpack[Options],
) -> Callable[P, T]:
    """Return a function that blocks until it has its value, computed once however many threads ask.

    A call without an identity is computed each time, and for its caller alone: an engine takes more than has one.

    Args:
        cache: an async one, within its event loop, or a plain one.
        state: of the engine that computes.
        function: computes; its arguments are the key, with the state.
        name: what is computed; the engine's name when left out.
        revision: stands for the engine where its state does not.
        bound: a function of which the closure or the object is part of the key.
        **options: see ``Options``.

    Raises:
        InvalidRequest: ``cache`` is no cache, or an option is wrong.
        RuntimeError: the cache is async, and this is not its event loop.

    """
    if not isinstance(cache, AnyCache):
        raise InvalidRequest(
            f"'cache' must be what sayonce.open or sayonce.open_sync made, not {cache!r:.80}", param="cache"
        )
    task = make_task(_in_own_thread(function), name or state.name, revision, options, _Stated(bound))
    if isinstance(cache, SyncCache):
        blocking: SyncRemembered[P, Any] = SyncRemembered(cache, task)
        return _keyed_or_in_own_thread(blocking, function, state)
    awaitable: Remembered[P, Any] = Remembered(cache, task)
    recall = _blocking(awaitable, _loop())
    return _keyed_or_in_own_thread(recall, function, state)


def _keyed_or_in_own_thread(recall: Callable[P, Any], function: Callable[P, T], state: State) -> Callable[P, Any]:
    @functools.wraps(recall)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            now = _Call(state)
        except Unkeyable as error:
            state.tell(error)
            return function(*args, **kwargs)
        before = _call.set(now)
        try:
            return recall(*args, **kwargs)
        except (InvalidRequest, UnicodeError) as error:
            if now.begun:  # the engine's own error
                raise
            state.tell(error)
        finally:
            _call.reset(before)
        return function(*args, **kwargs)

    return call


def _in_own_thread(function: Callable[P, T]) -> Callable[P, Any]:
    """Run each computation in a thread of its own: a pool may be full of callers that wait for this very value."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        call = _call.get()
        call.begun = True
        pool = ThreadPoolExecutor(1, thread_name_prefix="sayonce-encoder")
        try:
            running = asyncio.get_running_loop()
            return await running.run_in_executor(pool, _carried, function, call.modes.again(), args, kwargs)
        finally:
            pool.shutdown(wait=False)

    return run


def _carried(
    function: Callable[..., T], modes: AbstractContextManager[None], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> T:
    with CarryErrors(), modes:
        return _without_traces(function, args, kwargs)


def _without_traces(function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
    """Run a function without gradients, and put the random numbers back.

    Engines leave gradients on, and a value that is kept would hold the whole graph. Some encoders draw random numbers that
    they do not use (w2v-BERT's layer drop). The generator is put back, so that a seed gives the same sound whether the
    voice was remembered or not.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return function(*args, **kwargs)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.no_grad(), torch.random.fork_rng(devices):
        return function(*args, **kwargs)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "wrap an engine with an async cache from within that cache's event loop, or use sayonce.open_sync()"
        ) from None


def _blocking(awaitable: Callable[P, Any], loop: asyncio.AbstractEventLoop) -> Callable[P, Any]:
    @functools.wraps(awaitable)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        if asyncio._get_running_loop() is loop:  # noqa: SLF001 (documented for this: None instead of an exception)
            raise RuntimeError("an engine blocks: call it from a thread, as with asyncio.to_thread, not on the loop")
        return asyncio.run_coroutine_threadsafe(awaitable(*args, **kwargs), loop).result()

    return call
