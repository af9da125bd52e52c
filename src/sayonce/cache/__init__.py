"""Compute once, reuse many, for any value: look-up, flights, purges, trouble, and the blocking facade; how a store keeps bytes is in ``stores``."""

from sayonce.cache.answer import Answer, saved_seconds
from sayonce.cache.cache import Cache
from sayonce.cache.flight import Flight
from sayonce.cache.invalidation import Obeyed
from sayonce.cache.lookup import Lookup, Scope, never_stale
from sayonce.cache.made import Keep, Made
from sayonce.cache.removal import Removed

__all__ = [
    "Answer",
    "Cache",
    "Flight",
    "Keep",
    "Lookup",
    "Made",
    "Obeyed",
    "Removed",
    "Scope",
    "never_stale",
    "saved_seconds",
]
