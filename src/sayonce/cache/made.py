"""The value that a computation makes, and how a plain or an async function becomes a computation."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum, auto
from typing import Any

import msgspec

from sayonce.cache.compute_errors import CarryErrors
from sayonce.cache.flight import Flight
from sayonce.cache.threads import Threads
from sayonce.errors import with_article


class Keep(Enum):
    """Where a computed value is kept."""

    EVERYWHERE = auto()
    MEMORY = auto()  # cheaper to derive again than to keep in a shared store
    NOWHERE = auto()


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A computed value.

    ``compute_seconds`` None means the time that the whole computation took, and ``ttl`` None the lookup's own.
    """

    body: bytes
    media_type: str = "application/octet-stream"
    about: dict[str, Any] = {}
    compute_seconds: float | None = None
    keep: Keep = Keep.EVERYWHERE
    ttl: timedelta | None = None


Compute = Callable[[], bytes | Made | Awaitable[bytes | Made]]


async def computed(threads: Threads, compute: Compute, _: Flight) -> Made:
    """Return what a plain or an async function computes, for callers that wait for the whole."""
    with CarryErrors():
        value: Any = await compute() if inspect.iscoroutinefunction(compute) else await threads.compute(compute)
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, bytes | Made):
            raise TypeError(
                f"'compute' must return bytes (or a Made), and returned {with_article(type(value).__name__)}"
            )
    return value if isinstance(value, Made) else Made(body=value)
