"""Remembered functions: the key from name, revision and arguments; one computation however many ask."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, overload
from weakref import WeakKeyDictionary

from sayonce.cache import Cache
from sayonce.cache.compute_errors import CarriedError, released
from sayonce.cache.sync import SyncCache
from sayonce.core.key import Digest
from sayonce.errors import Unkeyable
from sayonce.features.arguments import REMEMBERING, check, kept
from sayonce.features.bound import Bound
from sayonce.features.keys import Arguments
from sayonce.features.spec import Spec
from sayonce.features.task import Task
from sayonce.features.tensors import Codec, hints_of
from sayonce.features.travel import named, unpacked

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")
C = TypeVar("C", bound=Cache | SyncCache[Any])

DEFAULT_TTL: Final = timedelta(days=7)


class Options(TypedDict, total=False):
    """The options of ``remember``, beside name and revision."""

    ttl: timedelta
    """How long values are kept; seven days when left out."""
    tags: Iterable[str]
    """Names under which the values can be purged."""
    content: Iterable[str]
    """Parameters that are paths (or bytes), identified by the bytes of the file."""
    audio: Iterable[str]
    """Parameters that are paths (or bytes, or ``Voice``), identified by the decoded samples."""
    ignore: Iterable[str]
    """Parameters that do not change the value, such as ``self`` or ``progress``."""
    batch: bool
    """The function takes a list and returns a list: it is called once, with the missing items."""
    returns: Any
    """The return type, where the annotation does not say it."""
    spec: Spec
    """Types and shapes of the arrays, such as ``{"style": ("float32", (1, 192))}``; None is any length."""
    copy: bool
    """Arrays come back as the caller's own instead of read-only."""
    device: Any
    """Where torch tensors come back; the CPU when left out."""
    expected_bytes: int
    """The size of a usual value: values of megabytes get more time than the store's budget. Learned from the first."""
    storage: Literal["float16"]
    """Halves the space of float32 arrays, and is *not exact*."""


def make_task(
    function: Callable[..., Any], name: str, revision: str, options: Options, bound: Bound | None = None
) -> Task:
    """Return the task of a function; ``bound`` says what it is bound to where the revision does not.

    Raises:
        Unkeyable: a declared parameter does not exist, or ``self`` is not ignored.
        InvalidRequest: an option is unknown, or of the wrong type or out of range.

    """
    options = {option: kept(value) for option, value in options.items()}  # type: ignore[assignment] # as they were
    check(REMEMBERING, name=name, revision=revision, **options)
    returns = options.get("returns", hints_of(function).get("return"))
    return Task(
        function,
        name,
        revision=revision,
        bound=bound or Bound(function),
        arguments=Arguments(function, **_some(options, "content", "audio", "ignore")),
        codec=Codec(returns=returns, **_some(options, "spec", "copy", "device", "storage")),
        ttl=options.get("ttl", DEFAULT_TTL),
        tags=options.get("tags", ()),
        batch=options.get("batch", False),
        expected_bytes=options.get("expected_bytes", 0),
        declared=(name, revision, options),
    )


def _arrive(
    kind: Any, cache: Any, function: Any, name: str, revision: str, options: Options, bound: tuple[Any, ...]
) -> Any:
    """Return what a pickled remembered function is here."""
    return kind(cache, make_task(unpacked(function), name, revision, options), bound)


_claims: WeakKeyDictionary[Any, dict[tuple[str, ...], Bound]] = WeakKeyDictionary()


def _claim(cache: Any, task: Task) -> None:
    """Keep a name for one function of a cache: another one's values would be taken for its own.

    Raises:
        Unkeyable: another function has the name, or the same one with other code, or bound to another object.

    """
    holder, bound = _claims.setdefault(cache, {}).setdefault(tuple(task.identity), task.bound), task.bound
    if holder.same(bound):
        return
    which = f"another {holder.name}" if holder.name == bound.name else holder.name
    why = " (its code, or an object that it is bound to, is another)" if holder.name == bound.name else ""
    raise Unkeyable(
        f"{task.name!r} with this revision is what {which} computes{why}; give {bound.name} a name of its own or another "
        "revision, or pass what differs as an argument, or their values are taken for one another's",
        param="name",
    )


def _some(options: Options, *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}


class Remember(Protocol):
    """The decorator that ``Cache.remember`` returns."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Remembered[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Remembered[P, T]: ...


class SyncRemember(Protocol):
    """The decorator that ``SyncCache.remember`` returns."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> SyncRemembered[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> SyncRemembered[P, T]: ...


class _Function(Generic[C, P, T]):
    """A function of which a cache remembers the values: the parts that async and plain ones have in common."""

    __wrapped__: Callable[..., Any]

    def __init__(self, cache: C, task: Task, bound: tuple[Any, ...] = ()) -> None:
        _claim(cache, task)
        wrapper: Any = self  # which subclasses make callable
        functools.update_wrapper(wrapper, task.function)
        self.original_function = task.packed
        self._cache = cache
        self._task = task
        self._bound = bound

    def key(self, *args: P.args, **kwargs: P.kwargs) -> Digest:
        """Return the digest of a call; reads the files that are declared as content."""
        return self._task.key(self._cache, self._bound + args, kwargs)

    def __reduce__(self) -> Any:
        function = named(self._task.function, self.original_function)
        return _arrive, (type(self), self._cache, function, *self._task.declared, self._bound)


class Remembered(_Function[Cache, P, T]):
    """A function with remembered values; awaitable whether the function itself is plain or async."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the value, computing it once however many ask.

        Raises:
            Unkeyable: an argument has no exact identity.
            TypeError: what the function returned cannot be kept, or is not what was declared.
            Exception: what the function raised; nothing is stored then.
            RecursionError: the function asks for the value that it computes.

        """
        call, cache = self._bound + args, self._cache
        if cache.travelled:
            cache = await cache.here()
        if self._task.batch:
            return await released(self._task.many(cache, call[0], call[1:], kwargs))  # type: ignore[arg-type] # T is a list
        key = await self._task.find_key(cache, call, kwargs)
        try:
            value: T = await self._task.answer(cache, key, call, kwargs)
        except CarriedError as raised:
            error = raised.error
        else:
            return value
        raise error  # outside of the handler, which would become its context

    async def batch(self, items: Iterable[Any], *args: Any, **kwargs: Any) -> list[T]:
        """Return the values for every item (the first argument), in order; only the missing are computed, one by one."""
        return await released(self._task.many(await self._cache.here(), items, self._bound + args, kwargs))

    async def cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether the value of a call is stored."""
        key = await self._task.find_key(self._cache, self._bound + args, kwargs)
        return await (await self._cache.here()).find(key, self._task.decoding_policy()) is not None

    async def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the value of a call everywhere and return whether it was stored.

        Raises:
            StoreError: the store is away: only this instance obeys until it is back.

        """
        key = await self._task.find_key(self._cache, self._bound + args, kwargs)
        return await (await self._cache.here()).delete(key)

    def __get__(self: Remembered[Concatenate[S, Q], T], instance: S | None, owner: Any = None) -> Remembered[Q, T]:
        return Remembered(self._cache, self._task, () if instance is None else (instance,))


class SyncRemembered(_Function[SyncCache[Any], P, T]):
    """A function with remembered values; plain whether the function itself is plain or async."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the value, computing it once however many threads ask; see ``Remembered.__call__``."""
        call = self._bound + args
        if self._task.batch:
            return self._cache.run(lambda cache: self._task.many(cache, call[0], call[1:], kwargs))  # type: ignore[return-value] # T is a list
        key = self._task.key(self._cache, call, kwargs)
        value: T = self._cache.run(lambda cache: self._task.answer(cache, key, call, kwargs))
        return value

    def batch(self, items: Iterable[Any], *args: Any, **kwargs: Any) -> list[T]:
        """See ``Remembered.batch``."""
        return self._cache.run(lambda cache: self._task.many(cache, items, self._bound + args, kwargs))

    def cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """See ``Remembered.cached``."""
        return self._cache.run(lambda cache: self._on(cache).cached(*args, **kwargs))

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """See ``Remembered.forget``."""
        return self._cache.run(lambda cache: self._on(cache).forget(*args, **kwargs))

    def _on(self, cache: Cache) -> Remembered[P, T]:
        return Remembered(cache, self._task, self._bound)

    def __get__(
        self: SyncRemembered[Concatenate[S, Q], T], instance: S | None, owner: Any = None
    ) -> SyncRemembered[Q, T]:
        return SyncRemembered(self._cache, self._task, () if instance is None else (instance,))
