"""A gateway over an engine that takes its time, and that fails in the middle of a text that begins with "Fail".

``python -m bench.proxies_server PORT``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

import uvicorn

from sayonce.cli.serve import _uvicorn as config
from sayonce.config import load_settings
from sayonce.errors import EngineError
from sayonce.gateway.access import Access
from sayonce.gateway.app import Gateway
from sayonce.service import Service
from sayonce.speech.engines import AudioStart, Utterance
from sayonce.testing import StubEngine

PAUSE_SECONDS = 0.15


class Slow(StubEngine):
    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        chunks = 0
        async for item in super().synthesize(utterance):
            if isinstance(item, bytes):
                if chunks:
                    await asyncio.sleep(PAUSE_SECONDS)
                if chunks == 2 and utterance.text.startswith("Fail"):
                    raise EngineError("the engine's power is cut")
                chunks += 1
            yield item


if __name__ == "__main__":
    settings = load_settings(overrides={"server.port": int(sys.argv[1]), "store.url": "memory://"})
    gateway = Gateway(Service(settings, [Slow()]), Access())
    uvicorn.Server(config(lambda: gateway, settings)).run()
