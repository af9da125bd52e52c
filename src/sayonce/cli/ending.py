"""The end of a server's process: in time, whatever still runs, from the first signal that asks for it.

Python waits for all threads, and an engine's call may never return. Native code that never lets Python go on keeps it from
hearing any signal; of that only the supervisor of several workers, or SIGKILL, makes an end.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

log = logging.getLogger("sayonce.gateway")

LAST_SECONDS: Final = 5.0
"""After ``server.shutdown_timeout``, to write what is still to be written."""
_LOG_SECONDS: Final = 1.0
"""For the line that says so, which nobody may read."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
CUT_OFF: Final = 1
"""The exit code of a process whose work did not end."""
_INTERRUPTED: Final = 128 + signal.SIGINT

Handler = Callable[[int, FrameType | None], Any]


class Ending:
    """Hears the signals that end this process, and ends it ``timeout_seconds`` and 5 s after the first, or at a second Ctrl-C.

    Uvicorn hears them from its start to its end, and then repeats those that it got.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.asked_at: float | None = None
        """When the process was asked to end, by ``time.monotonic``."""
        self._timeout_seconds = timeout_seconds
        self._passed_on: list[int] = []

    def hear(self) -> None:
        """Hear the signals before and after uvicorn."""
        for number in _SIGNALS:
            signal.signal(number, self._heard)

    def hear_before_uvicorn(self) -> None:
        """Hear the signals first from now on; uvicorn, which has begun to hear them, gets them too."""
        for number in _SIGNALS:
            usual = signal.getsignal(number)
            if callable(usual):
                signal.signal(number, partial(self._pass_on, usual))

    def _heard(self, number: int, _: FrameType | None) -> None:
        if number in self._passed_on:
            self._passed_on.remove(number)
        else:
            self._note(number)

    def _pass_on(self, usual: Handler, number: int, frame: FrameType | None) -> None:
        self._note(number)
        self._passed_on.append(number)
        usual(number, frame)

    def _note(self, number: int) -> None:
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            signal.signal(signal.SIGALRM, partial(_end, "what is under way does not end; the process ends without it"))
            signal.setitimer(signal.ITIMER_REAL, self._timeout_seconds + LAST_SECONDS)
        elif number == signal.SIGINT:  # somebody at a terminal does not want to wait
            _end("interrupted again; the process ends without what is under way", code=_INTERRUPTED)


def _end(why: str, *_: object, code: int = CUT_OFF) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, _LOG_SECONDS)
    try:
        log.error(why)
    finally:
        os._exit(code)
