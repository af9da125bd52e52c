"""A baseline: a bare ASGI callable that reads the body and answers constant bytes, served just as ``sayonce serve`` is.

``python -m bench.bare PORT BYTES``
"""

from __future__ import annotations

import os
import sys

import uvicorn

from sayonce.cli.serve import _uvicorn as config
from sayonce.config import load_settings

BODY = os.urandom(int(sys.argv[2]))  # zeros would all lie in one page of memory, and be sent from the processor's cache
HEADERS = [(b"content-type", b"audio/mpeg"), (b"content-length", str(len(BODY)).encode())]


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    settings = load_settings(environment={}, overrides={"server.port": int(sys.argv[1])})
    uvicorn.Server(config(lambda: application, settings)).run()
