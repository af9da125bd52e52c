"""Gateways in processes that take no time to start, as there is one to kill for each time that a leader is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.helpers.deployments import free_port

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        __name__,
        "httpcore",
        "sayonce.cli.serve",
        "sayonce.speech.engines.openai.engine",
        "sayonce.stores.redis.store",
        "sayonce.stores.sqlite.store",
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
    ]
)


class Leader:
    """What ``sayonce serve`` runs, in a process forked from one that has imported everything."""

    def __init__(self, directory: Path, store: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: BaseProcess = _CONTEXT.Process(target=_serve, args=(directory, self.port, store))
        self.process.start()

    async def ready(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                assert self.process.is_alive()
                await asyncio.sleep(0.02)
            else:
                return writer.close()

    def kill(self) -> None:
        """End it as SIGKILL does: with that."""
        self.process.kill()
        self.process.join()


@asynccontextmanager
async def leading(directory: Path, store: str) -> AsyncIterator[Leader]:
    leader = Leader(directory, store)
    try:
        await leader.ready()
        yield leader
    finally:
        leader.kill()


def _serve(directory: Path, port: int, store: str) -> None:
    from sayonce.cli.serve import run

    os.chdir(directory)
    with Path("leaders.log").open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    run(None, {"server_port": port, "store_url": store})
