"""The refusals of engines, remembered for seconds: a request that was refused a moment ago would be refused again."""

from __future__ import annotations

import time
from typing import Final

from sayonce.errors import CallerError

_REMEMBERED_SECONDS: Final = 5.0
_MOST_REMEMBERED: Final = 1000


class Refusals:
    """The errors of requests that engines would not speak, by the key of the take."""

    def __init__(self) -> None:
        self._refused: dict[bytes, tuple[float, CallerError]] = {}

    def check(self, take_key: bytes) -> None:
        """Repeat what an engine said of the same request a moment ago.

        Raises:
            CallerError: it was refused.

        """
        until, error = self._refused.get(take_key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error.twin()

    def remember(self, take_key: bytes, error: CallerError) -> None:
        while len(self._refused) >= _MOST_REMEMBERED:
            del self._refused[next(iter(self._refused))]
        self._refused[take_key] = (time.monotonic() + _REMEMBERED_SECONDS, error.twin())
