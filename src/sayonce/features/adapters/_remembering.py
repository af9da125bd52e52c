"""Remembered functions for engines, which are plain code: they block, whichever kind of cache remembers for them."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar, Unpack
from weakref import WeakValueDictionary

from sayonce.cache import Cache
from sayonce.cache.raised import Carried
from sayonce.errors import Unkeyable
from sayonce.features.adapters._clip import warn_once
from sayonce.features.bound import Bound
from sayonce.features.library import SyncCache
from sayonce.features.remember import Options, Remembered, SyncRemembered, make_task

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])

_wrapped: Final[WeakValueDictionary[int, Callable[..., Any]]] = WeakValueDictionary()
"""What adapters have put in the place of engines' own methods, by its id: not all callables have a hash."""

AnyCache = Cache | SyncCache


def remembered(
    cache: AnyCache,
    name: str,
    revision: str,
    function: Callable[P, T],
    bound: Bound | None = None,
    **options: Unpack[Options],
) -> Callable[P, T]:
    """Return a function that blocks until it has its value, computed once however many threads ask.

    ``revision`` stands for the engine that it is bound to, unless ``bound`` says what that is. An engine
    computes alone what cannot be identified; a function that is wrapped refuses it.

    Raises:
        RuntimeError: the cache is async, and this is not its event loop.

    """
    alone = _alone(function)
    task = make_task(alone, name, revision, options, bound or Bound(None))
    if isinstance(cache, SyncCache):
        blocking: SyncRemembered[P, Any] = SyncRemembered(cache, task)
        return blocking if bound is not None else _keyed_or_alone(blocking, function, name)
    awaitable: Remembered[..., Any] = Remembered(cache, task)
    waiting = _blocking(awaitable, _loop())
    return waiting if bound is not None else _keyed_or_alone(waiting, function, name)


def _keyed_or_alone(recall: Callable[P, Any], function: Callable[P, T], name: str) -> Callable[P, Any]:
    """Call the function alone where an argument cannot be identified: an engine takes more than has an identity."""

    @functools.wraps(recall)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return recall(*args, **kwargs)
        except Unkeyable as error:  # nothing was computed then
            warn_once(name, error)
        return function(*args, **kwargs)

    return call


def unwrapped(function: C) -> C:
    """Return what an adapter is to put a function of its own in the place of.

    Raises:
        RuntimeError: it is such a function, and would wait within its computation for the very value.

    """
    if _wrapped.get(id(function)) is function:
        raise RuntimeError("this engine remembers its values already: wrap it once")
    return function


def wrapped(function: C) -> C:
    """Note that a function takes the place of an engine's own."""
    _wrapped[id(function)] = function
    return function


def _alone(function: Callable[P, T]) -> Callable[P, Any]:
    """Run each computation in a thread of its own: a pool may be full of callers who wait for this very value."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        pool = ThreadPoolExecutor(1, thread_name_prefix="sayonce-encoder")
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _carried, function, args, kwargs)
        finally:
            pool.shutdown(wait=False)

    return run


def _carried(function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
    with Carried():
        return _apart(function, args, kwargs)


def _apart(function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
    """Engines leave gradients on, and what is kept would hold the whole graph.

    Some encoders draw random numbers that they do not use (w2v-BERT's layer drop). The generator is put back, so that a
    seed gives the same sound whether the voice was remembered or not.
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
