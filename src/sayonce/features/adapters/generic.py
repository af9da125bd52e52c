"""Any encoder: a function, or one method of an object, that remembers its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from sayonce.errors import InvalidRequest
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Function, Wrapping, method_of, unwrapped
from sayonce.features.bound import content_of, qualified_name
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
            for all that an object was when it was wrapped. Torch modules that it holds are looked at in each call.
        name: what is computed; the function's module and qualified name when left out.
        **options: those of ``Cache.remember``, such as ``audio=("path",)``.

    Raises:
        Unkeyable: a declared parameter does not exist.
        RuntimeError: the function or the method is wrapped already.

    """
    if method is not None:
        function = method_of(target, method, target, "an object with that method", param="target")
    elif callable(target):
        function = unwrapped(target)
    else:
        raise InvalidRequest(
            f"'target' must be a function, or an object with the name of a 'method', not {target!r:.80}", param="target"
        )
    state = State(name or qualified_name(function), None, partial(_networks, target), revision)
    bound = target if method is None else None
    recall = remembered(cache, state, function, revision=revision, bound=bound, **options)
    given = {"method": method, "revision": revision, "name": name, **options}
    if method is None:
        return Function(wrap, function, cache, given, recall)
    Wrapping(wrap, target, cache, **given).install(target, **{method: recall})
    return target


def _networks(target: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the torch modules that an object or a function holds; it has no other settings."""
    owner = getattr(target, "__self__", target)
    cells = getattr(owner, "__closure__", None) or ()
    held = {"": owner, **getattr(owner, "__dict__", {}), **{str(n): content_of(cell) for n, cell in enumerate(cells)}}
    return {name: part for name, part in held.items() if hasattr(type(part), "state_dict")}, {}
