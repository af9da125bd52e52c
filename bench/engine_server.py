"""A gateway over ``sayonce.testing.StubEngine``, served just as ``sayonce serve`` is.

``python -m bench.engine_server PORT STORE-URL``
"""

from __future__ import annotations

import sys

import uvicorn

from sayonce.cli.serve import _uvicorn as config
from sayonce.config import load_settings
from sayonce.gateway.access import Access
from sayonce.gateway.app import Gateway
from sayonce.service import Service
from sayonce.testing import StubEngine

if __name__ == "__main__":
    overrides = {"server.port": int(sys.argv[1]), "store.url": sys.argv[2]}
    settings = load_settings(overrides=overrides)
    gateway = Gateway(Service(settings, [StubEngine()]), Access())
    uvicorn.Server(config(lambda: gateway, settings)).run()
