"""Compute once, reuse many: look-up, single flight and storing, for any value."""

from sayonce.cache.answer import Answer, saved_seconds
from sayonce.cache.cache import Cache, Removed
from sayonce.cache.flight import Flight, Keep, Made
from sayonce.cache.invalidation import Obeyed

__all__ = ["Answer", "Cache", "Flight", "Keep", "Made", "Obeyed", "Removed", "saved_seconds"]
