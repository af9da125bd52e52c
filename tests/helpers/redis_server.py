"""Redis and Valkey servers that are started for the tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.helpers.deployments import free_port, program


@dataclass(frozen=True)
class Server:
    """A running Redis or Valkey."""

    port: int
    pid: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(host=self.host, port=self.port, **options)


@contextmanager
def run_redis_server(
    directory: Path, *options: str, ready: Callable[[int], redis.Redis] | None = None
) -> Iterator[Server]:
    """Run Debian's ``redis-server``; ``options`` are its own, ``ready`` makes the client that waits for it."""
    port = free_port()
    plain = () if ready else ("--port", str(port))
    command = [program("redis-server"), *plain, "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    command += [option.format(port=port) for option in options]
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        client = ready(port) if ready else redis.Redis(port=port)
        await_ping(client, process, directory / "redis.log")
        yield Server(port, process.pid)
    finally:
        process.kill()
        process.wait()


def await_ping(client: redis.Redis, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    with client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"redis-server does not start: {log.read_text()}")
                time.sleep(0.01)
            else:
                return


def emptied(server: Server) -> Server:
    with server.client() as client:
        client.flushall()
    return server
