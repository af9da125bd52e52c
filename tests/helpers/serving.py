"""A gateway on a real socket, in the test's own event loop, so that a test can hold its engine."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import httpx
import uvicorn

from sayonce.config import load_settings
from sayonce.gateway.access import load_access
from sayonce.gateway.app import Gateway
from sayonce.gateway.protocol import bounded
from sayonce.service import Service


@asynccontextmanager
async def serving(*engines, store="memory://", clock=time.time, **overrides):
    """Yield a client, with ``service``, ``observer``, ``port`` and ``access`` on it, of a gateway over these engines."""
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load_settings(environment={}, overrides={"store.url": store, **names})
    service = Service(settings, engines or None, clock=clock)
    access = load_access(settings)
    gateway = Gateway(service, access)
    http = bounded(settings.server)
    config = uvicorn.Config(
        gateway,
        log_level="critical",
        access_log=False,
        ws="none",
        http=http,
        proxy_headers=False,
        timeout_keep_alive=600,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.001)
    port = listener.getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            client.service, client.observer, client.port, client.access = service, gateway.observer, port, access
            client.gateway = gateway
            client.bounds = http.args[0]
            yield client
    finally:
        server.should_exit = True
        await running
        listener.close()


async def speak(client, text="Hello there.", headers=None, **fields):
    body = {"model": "stub", "input": text, "voice": "anna", "response_format": "wav", **fields}
    return await client.post("/v1/audio/speech", json=body, headers=headers)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)
