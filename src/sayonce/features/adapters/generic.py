"""Any encoder: a function, or one method of an object, that remembers its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from sayonce.features.adapters._remembering import AnyCache, remembered, unwrapped, wrapped
from sayonce.features.bound import Bound, place_of
from sayonce.features.remember import Options

T = TypeVar("T")


@overload
def wrap(
    target: T, cache: AnyCache, method: str, *, revision: str, name: str | None = ..., **options: Unpack[Options]
) -> T: ...
@overload
def wrap(
    target: Callable[..., T],
    cache: AnyCache,
    method: None = ...,
    *,
    revision: str,
    name: str | None = ...,
    **options: Unpack[Options],
) -> Callable[..., T]: ...
def wrap(
    target: Any,
    cache: AnyCache,
    method: str | None = None,
    *,
    revision: str,
    name: str | None = None,
    **options: Unpack[Options],
) -> Any:
    """Make a function, or one method of an object, remember its values.

    Args:
        target: the function; or the object, which is returned with that method of this one instance replaced.
        cache: an async cache (then call from threads) or a plain one.
        method: the method's name, if ``target`` is the object.
        revision: changed whenever the same arguments may give another value: new weights, other preprocessing; it stands
            for all of an object.
        name: what is computed; the function's module and qualified name when left out.
        **options: see ``sayonce.features.remember.Options``, such as ``audio=("path",)``.

    Raises:
        Unkeyable: a declared parameter does not exist.
        RuntimeError: the function or the method is wrapped already.

    """
    function = unwrapped(target if method is None else getattr(target, method))
    name = name or place_of(function)
    recall = wrapped(remembered(cache, name, revision, function, Bound(target) if method is None else None, **options))
    if method is None:
        return recall
    setattr(target, method, recall)
    return target
