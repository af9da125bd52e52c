"""Time as an argument, so that tests need not sleep."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since the Unix epoch."""
