"""Compute once, reuse many: look-up, single flight and storing, for any value."""

from sayonce.cache.answer import Answer, saved_seconds
from sayonce.cache.cache import Cache
from sayonce.cache.flight import Flight, Keep, Made

__all__ = ["Answer", "Cache", "Flight", "Keep", "Made", "saved_seconds"]
