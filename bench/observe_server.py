"""The gateway served just as ``sayonce serve`` is, whose watching a signal turns off and on.

``python -m bench.observe_server PORT``: on SIGUSR1 metrics, counters of answers, ledger and request logs go on as usual,
on SIGUSR2 nobody watches.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import uvicorn

from sayonce.cli.serve import _uvicorn as config
from sayonce.config import load_settings
from sayonce.gateway.app import create_app


class Nobody:
    """Watches nothing."""

    def answered(self, *_: object) -> None: ...

    def hit(self, *_: object) -> None: ...

    def failed(self, *_: object) -> None: ...

    def left(self) -> None: ...


if __name__ == "__main__":
    settings = load_settings(overrides={"server.port": int(sys.argv[1])})
    gateway = create_app(settings)
    speech: Any = gateway._speech  # noqa: SLF001 (there is no setting: it is always on)
    observers = {signal.SIGUSR1: speech._observer, signal.SIGUSR2: Nobody()}  # noqa: SLF001

    def switch(number: int, _: object) -> None:
        speech._observer = observers[signal.Signals(number)]  # noqa: SLF001

    for number in observers:
        signal.signal(number, switch)
    uvicorn.Server(config(lambda: gateway, settings)).run()
