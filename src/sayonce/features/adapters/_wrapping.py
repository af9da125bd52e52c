"""How an engine was wrapped: wrapped engines are pickled and copied with it, and are wrapped again where they arrive."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakValueDictionary

from sayonce.cache import Cache
from sayonce.errors import InvalidRequest
from sayonce.features.library import SyncCache, for_engine
from sayonce.features.travel import named, packed, unpacked

_methods: Final[WeakValueDictionary[int, Any]] = WeakValueDictionary()
"""The callables that replace engines' own methods, by id: not all of them have a hash."""
_arriving: Final = threading.RLock()


def unwrapped(function: Any) -> Any:
    """Return ``function``; raise if an adapter has already replaced it.

    Raises:
        RuntimeError: it has: wrapped twice, it would wait within its computation for the very value.

    """
    if _methods.get(id(function)) is function:
        raise RuntimeError("this engine remembers its values already: wrap it once")
    return function


def method_of(owner: Any, name: str, engine: Any, kind: str, *, param: str = "engine") -> Any:
    """Return a method that an adapter replaces; ``kind`` says in words which engines the adapter is for.

    Raises:
        InvalidRequest: ``owner``, the engine or a part of it, has no such method: it is none of those engines.
        RuntimeError: an adapter has already replaced it.

    """
    method = getattr(owner, name, None)
    if not callable(method):
        given = f"{type(engine).__module__}.{type(engine).__qualname__}"
        raise InvalidRequest(
            f"{param!r} must be {kind}, not of type {given}, which has no method {name!r}", param=param
        )
    return unwrapped(method)


class Wrapping:
    """One engine, and the call of ``wrap`` that it was wrapped with.

    A pickle or a copy has the engine with its own methods, and this; the cache goes as the way it was opened, without its
    secret. As engines block, an async cache arrives as one for plain code.
    """

    def __init__(self, wrap: Callable[..., Any], engine: Any, cache: Cache | SyncCache, **options: Any) -> None:
        self._wrap = wrap
        self._engine = engine
        self._cache = cache
        self._options = options
        self._owner: Any = None
        self._own: dict[str, Any] = {}
        """The attributes of the instance itself under the names of replaced methods."""
        self._arrived = False

    def install(self, owner: Any, **methods: Callable[..., Any]) -> None:
        """Replace methods of one object."""
        self._owner = owner
        self._own = {name: vars(owner)[name] for name in methods if name in vars(owner)}
        for name, method in methods.items():
            setattr(owner, name, Method(self, name, method))

    def here(self, name: str) -> Callable[..., Any]:
        """Return a method of the engine in the process that it arrived in, wrapped at the first call there."""
        with _arriving:
            if self._arrived:
                self._arrived = False
                self._again()
        method: Callable[..., Any] = getattr(self._owner, name)
        return method

    def _again(self) -> None:
        for name, value in list(vars(self._owner).items()):
            if isinstance(value, Method) and value.belongs_to(self):
                delattr(self._owner, name)
        vars(self._owner).update(self._own)
        self._wrap(self._engine, self._cache, **self._options)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_cache": for_engine(self._cache), "_arrived": True}


class Method:
    """A method that remembers and replaces an engine's own."""

    def __init__(self, wrapping: Wrapping, name: str, call: Callable[..., Any] | None = None) -> None:
        self._wrapping = wrapping
        self._name = name
        self._call = call
        _methods[id(self)] = self
        if call is not None:
            functools.update_wrapper(self, call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self._call or self._wrapping.here(self._name))(*args, **kwargs)

    def belongs_to(self, wrapping: Wrapping) -> bool:
        """Whether it was installed by this wrapping."""
        return self._wrapping is wrapping

    def __reduce__(self) -> Any:
        return Method, (self._wrapping, self._name)


class Function:
    """A function that remembers."""

    def __init__(
        self, wrap: Callable[..., Any], function: Any, cache: Any, options: dict[str, Any], call: Callable[..., Any]
    ) -> None:
        functools.update_wrapper(self, call)
        self.original_function = packed(function)
        self._parts = wrap, function, cache, options
        self._call = call
        _methods[id(self)] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __reduce__(self) -> Any:
        wrap, function, cache, options = self._parts
        return _arrive, (wrap, named(function, self.original_function), for_engine(cache), options)


def _arrive(wrap: Callable[..., Any], function: Any, cache: Any, options: dict[str, Any]) -> Any:
    return wrap(unpacked(function), cache, **options)
