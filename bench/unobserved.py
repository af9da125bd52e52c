"""The gateway without metrics, counters of answers, ledger and request logs, served just as ``sayonce serve`` is.

``python bench/unobserved.py PORT``
"""

from __future__ import annotations

import sys

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
    gateway._speech._observer = Nobody()  # noqa: SLF001 (there is no setting: it is always on)
    uvicorn.Server(config(gateway, settings)).run()
