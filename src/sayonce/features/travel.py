"""Pickles of caches and remembered functions, which open a cache of their own in the process that they arrive in.

A secret stays behind: its digest says which one is needed, and the process that it arrives in has to know it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import FunctionType
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from sayonce.errors import ConfigError

SECRET_VARIABLE: Final = "SAYONCE_SECRET"  # noqa: S105 (its name)
_OWN: Final = ".original_function"

_known_secrets: dict[bytes, bytes] = {}
_lock = threading.Lock()
_here: WeakValueDictionary[Any, Any] = WeakValueDictionary()
"""The caches of this process, by how they were opened."""


class Origin(msgspec.Struct, frozen=True):
    """How a cache was opened, without its secret."""

    url: str
    namespace: str
    secret_digest: bytes
    memory_bytes: int
    ttl_seconds: float
    blocking: bool


def note_secret(secret: bytes) -> bytes:
    """Return the digest that stands for a secret, which this process knows from now on."""
    digest = _digest(secret)
    _known_secrets[digest] = secret
    return digest


def secret_of(digest: bytes) -> bytes:
    """Return the secret of a digest.

    Raises:
        ConfigError: this process does not know it.

    """
    given = os.environ.get(SECRET_VARIABLE, "").encode()
    secret = given if _digest(given) == digest else _known_secrets.get(digest)
    if secret is None:
        raise ConfigError(
            f"a cache with a secret arrived in a process that does not know it; set {SECRET_VARIABLE} to the secret "
            "there, or open a cache with it before"
        )
    return secret


def _digest(secret: bytes) -> bytes:
    return blake2b(secret, digest_size=32, person=b"sayonce travel").digest() if secret else b""


note_secret(b"")


def note(origin: Origin, cache: Any) -> None:
    """Let caches and functions that arrive in this process use this cache."""
    _here[os.getpid(), origin] = cache


def arrived(origin: Origin, make: Callable[[Origin], Any]) -> Any:
    """Return this process's cache of an origin, opening it at the first arrival."""
    with _lock:
        cache = _here.get((os.getpid(), origin))
        if cache is None or cache.closed:
            cache = _here[os.getpid(), origin] = make(origin)
        return cache


def packed(function: Any) -> Any:
    """Return a function so that every pickler takes it.

    Its own name leads to the remembered one, which pickle finds is another object; ``name.original_function`` leads to
    this copy.
    """
    if not isinstance(function, FunctionType):
        return function
    return _copy(function, function.__qualname__ + _OWN)


def named(function: Any, copy: Any) -> Any:
    """Return the function where its own name still leads to it, as of a function that was not decorated in place."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return function if found is function else copy


def unpacked(function: Any) -> Any:
    """Return a function under its own name again."""
    if not isinstance(function, FunctionType) or not function.__qualname__.endswith(_OWN):
        return function
    return _copy(function, function.__qualname__.removesuffix(_OWN))


def _copy(function: FunctionType, qualname: str) -> FunctionType:
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    names: Mapping[str, Any] = vars(function)
    copy.__dict__.update(names)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__doc__, copy.__module__, copy.__qualname__ = function.__doc__, function.__module__, qualname
    return copy
