"""What the Redis store promises beyond the contract: trouble told apart, nothing crossed, nothing leaked, TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import Server, free_port, run_redis_server
from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import ConfigError
from sayonce.stores import open_store
from sayonce.stores.base import Failure, StoreError
from sayonce.stores.redis import EPOCHS, FAILURES, MAX_CONNECTIONS, TOTALS, RedisStore, kind_of, name_of
from sayonce.stores.url import RedisURL

MakeEntry = Callable[..., Entry]
PASSWORD = "pa/ss:wo@rd?#%"
QUOTED = "pa%2Fss%3Awo%40rd%3F%23%25"


@asynccontextmanager
async def opened(
    url: str, sealer: Sealer, *, budget_seconds: float = 5, clock: Callable[[], float]
) -> AsyncIterator[RedisStore]:
    store = open_store(url, sealer=sealer, budget_seconds=budget_seconds, clock=clock)
    assert isinstance(store, RedisStore)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def store(redis_server: Server, sealer: Sealer, clock: Callable[[], float]) -> AsyncIterator[RedisStore]:
    async with opened(redis_server.url, sealer, clock=clock) as store:
        yield store


# -- what is in Redis ------------------------------------------------------------------------------------------------


async def test_an_entry_lies_under_its_hash_tag_with_its_time_to_live(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    entry = make_entry(1, expires=clock() + 60)
    await store.put(entry)
    with redis_server.client() as client:
        assert client.keys() == [f"sayonce:{{{entry.key.hex()}}}".encode()]
        assert 59_000 < client.pttl(name_of(entry.key)) <= 60_000


async def test_an_entry_of_the_far_future_is_kept(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    entry = make_entry(1, expires=1e300)
    await store.put(entry)
    assert await store.get(entry.key) == entry


async def test_a_hit_costs_one_get_and_nothing_else(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    await store.put(make_entry(1))
    with redis_server.client() as client:
        client.config_resetstat()
        for _ in range(3):
            await store.get(make_entry(1).key)
        calls = {name: figures["calls"] for name, figures in client.info("commandstats").items()}
    calls.pop("cmdstat_config|resetstat")
    assert calls == {"cmdstat_get": 3}


async def test_clear_leaves_what_is_not_ours(store: RedisStore, redis_server: Server, make_entry: MakeEntry) -> None:
    with redis_server.client() as client:
        client.set("another program's", "value")
        for number in range(2500):
            client.set(name_of(number.to_bytes(32)), b"x")
        await store.bump("tag")
        await store.count({"hits": 1})
        assert await store.clear() == 2500
        assert set(client.keys()) == {b"another program's", TOTALS.encode(), EPOCHS.encode()}


async def test_stats_tell_the_servers_memory_and_its_bound(store: RedisStore, redis_server: Server) -> None:
    with redis_server.client() as client:
        assert (await store.stats()).max_bytes is None
        client.config_set("maxmemory", "100mb")
        stats = await store.stats()
        client.config_set("maxmemory", "0")
    assert stats.max_bytes == 100 * 2**20
    assert stats.used_bytes is not None
    assert 100_000 < stats.used_bytes < 100 * 2**20


# -- trouble, told apart -----------------------------------------------------------------------------------------------


async def test_a_full_server_that_evicts_nothing_refuses_writes_and_still_answers(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    await store.put(make_entry(1))
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreError, match="OutOfMemory") as failed:
                await store.put(make_entry(2))
        finally:
            client.config_set("maxmemory", "0")
    assert failed.value.kind is Failure.REFUSED
    assert await store.get(make_entry(1).key) == make_entry(1)


async def test_a_replica_refuses_writes_and_still_answers(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    await store.put(make_entry(1))
    with redis_server.client() as client:
        client.replicaof("127.0.0.1", str(free_port()))
        try:
            with pytest.raises(StoreError, match="ReadOnlyError") as failed:
                await store.put(make_entry(2))
            assert await store.get(make_entry(1).key) == make_entry(1)
        finally:
            client.replicaof("no", "one")
    assert failed.value.kind is Failure.REFUSED


async def test_a_value_of_another_type_is_a_store_error(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    with redis_server.client() as client:
        client.lpush(name_of(make_entry(1).key), "x")
    with pytest.raises(StoreError, match="WRONGTYPE") as failed:
        await store.get(make_entry(1).key)
    assert failed.value.kind is Failure.REFUSED


async def test_a_server_that_is_down_is_lost_and_found_again_without_reopening(
    redis_session: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float], tmp_path: Path
) -> None:
    port = free_port()
    async with opened(f"redis://127.0.0.1:{port}", sealer, clock=clock) as store:
        with pytest.raises(StoreError, match=f"redis://127.0.0.1:{port}/0: ConnectionError") as failed:
            await store.get(make_entry(1).key)
        assert failed.value.kind is Failure.LOST
        async with proxy(redis_session.port, port) as wire:
            assert await store.put(make_entry(1))
            wire.hold()
            reading = asyncio.create_task(store.get(make_entry(1).key))
            await wire.asked.wait()
            wire.cut()
            with pytest.raises(StoreError) as failed:
                await reading
            assert failed.value.kind is Failure.LOST
            wire.release()
            assert await store.get(make_entry(1).key) == make_entry(1)


async def test_a_server_that_hangs_is_given_up_in_time(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    async with opened(redis_server.url, sealer, budget_seconds=0.05, clock=clock) as store:
        await store.put(make_entry(1))
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(3):
                with pytest.raises(StoreError, match="Timeout") as failed:
                    await store.get(make_entry(1).key)
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)
        assert failed.value.kind is Failure.TIMEOUT
        assert await store.get(make_entry(1).key) == make_entry(1)


async def test_waiting_for_a_connection_ends_with_the_budget_and_is_not_an_outage(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    port = free_port()
    async with (
        proxy(redis_server.port, port) as wire,
        opened(f"redis://127.0.0.1:{port}", sealer, budget_seconds=0.05, clock=clock) as store,
    ):
        wire.hold()
        holders = [asyncio.create_task(store.get(make_entry(1).key)) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="No connection available") as failed:
            await store.get(make_entry(2).key)
        assert failed.value.kind is Failure.BUSY
        wire.release()
        assert await asyncio.gather(*holders) == [None] * MAX_CONNECTIONS


def exceptions_of_the_client() -> list[type[Exception]]:
    things = vars(redis.exceptions).values()
    return [thing for thing in things if isinstance(thing, type) and issubclass(thing, Exception)]


@pytest.mark.parametrize("error", exceptions_of_the_client())
def test_every_exception_of_the_client_becomes_a_store_error(error: type[Exception], sealer: Sealer) -> None:
    store = RedisStore(RedisURL(host="localhost"), sealer=sealer)
    instance = error.__new__(error)
    Exception.__init__(instance, "what went wrong")
    with (
        pytest.raises(StoreError, match=r"^redis://localhost:6379/0: \w+: what went wrong$") as failed,
        store._translated(),
    ):
        raise instance
    assert failed.value.kind is kind_of(instance)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.TimeoutError("Timeout reading from socket"), Failure.TIMEOUT),
        (redis.ConnectionError("No connection available."), Failure.BUSY),
        (redis.ConnectionError("Connection refused"), Failure.LOST),
        (redis.BusyLoadingError("loading the dataset in memory"), Failure.REFUSED),
        (redis.AuthenticationError("invalid password"), Failure.REFUSED),
        (redis.exceptions.NoPermissionError("no permissions"), Failure.REFUSED),
        (redis.exceptions.OutOfMemoryError("command not allowed"), Failure.REFUSED),
        (redis.InvalidResponse("Protocol error"), Failure.BROKEN),
        (redis.exceptions.ChildDeadlockedError("forked"), Failure.BROKEN),
    ],
)
def test_failures_are_told_apart(error: Exception, kind: Failure) -> None:
    assert isinstance(error, FAILURES)
    assert kind_of(error) is kind


# -- cancelled commands ----------------------------------------------------------------------------------------------


class Wire:
    """A TCP proxy to a server; it can hold the server's answers back, and cut its connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: list[asyncio.StreamWriter] = []
        self.asked = asyncio.Event()
        self.connections = 0

    def hold(self) -> None:
        self._flowing.clear()
        self.asked.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, far_writer, held=False))
                group.create_task(self._copy(far_reader, writer, held=True))
        finally:
            writer.close()
            far_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        try:
            while data := await reader.read(65536):
                if held:
                    await self._flowing.wait()
                else:
                    self.asked.set()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other end has gone, which is what some tests are about
        writer.close()


@asynccontextmanager
async def proxy(port: int, listen: int) -> AsyncIterator[Wire]:
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", listen)
    try:
        yield wire
    finally:
        server.close()
        wire.release()
        wire.cut()
        await asyncio.sleep(0.01)  # for the copies to end


async def test_the_answer_to_a_cancelled_command_is_never_read_by_the_next(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    port = free_port()
    async with (
        proxy(redis_server.port, port) as wire,
        opened(f"redis://127.0.0.1:{port}", sealer, clock=clock) as store,
    ):
        first, second = make_entry(1, body=b"first"), make_entry(2, body=b"second")
        await store.put(first)
        await store.put(second)
        assert wire.connections == 1
        wire.hold()
        cancelled = asyncio.create_task(store.get(first.key))
        await wire.asked.wait()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        wire.release()
        assert await store.get(second.key) == second  # reads "first" if the connection is used again
        assert wire.connections == 2


async def test_commands_cancelled_at_any_moment_never_cross_and_leak_no_connection(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    chance = random.Random(5)
    async with opened(redis_server.url, sealer, clock=clock) as store:
        entries = [make_entry(number, body=bytes([number]) * 20_000) for number in range(20)]
        for entry in entries:
            await store.put(entry)

        async def read(entry: Entry) -> None:
            try:
                async with asyncio.timeout(chance.random() * 0.004):
                    assert await store.get(entry.key) == entry
            except TimeoutError:
                pass

        for _ in range(10):
            await asyncio.gather(*(read(chance.choice(entries)) for _ in range(60)))
        found = await asyncio.gather(*(store.get(entry.key) for entry in entries * 3))
    assert found == entries * 3


# -- passwords ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked_server(tmp_path: Path) -> Iterator[Server]:
    """A Redis with a password; its client logs in."""
    with run_redis_server(
        tmp_path,
        "--port",
        "{port}",
        "--requirepass",
        PASSWORD,
        ready=lambda port: redis.Redis(port=port, password=PASSWORD),
    ) as server:
        yield server


async def test_the_right_password_is_accepted_and_shows_nowhere(
    locked_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    async with opened(f"redis://:{QUOTED}@127.0.0.1:{locked_server.port}/0", sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        for shown in (repr(store), str(store), repr(store.url), repr(store._redis), repr(store._redis.connection_pool)):
            assert PASSWORD not in shown
            assert QUOTED not in shown


@pytest.mark.parametrize(("login", "refusal"), [("", "AuthenticationError"), (":wrong-secret@", "WRONGPASS|invalid")])
async def test_a_wrong_password_is_a_store_error_that_does_not_repeat_it(
    locked_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float], login: str, refusal: str
) -> None:
    async with opened(f"redis://{login}127.0.0.1:{locked_server.port}", sealer, clock=clock) as store:
        with pytest.raises(StoreError, match=refusal) as failed:
            await store.get(make_entry(1).key)
    assert failed.value.kind is Failure.REFUSED
    assert "wrong-secret" not in str(failed.value)


def test_a_server_that_repeats_the_password_is_not_quoted(sealer: Sealer) -> None:
    store = RedisStore(RedisURL(host="h", password="hunter2"), sealer=sealer)
    with pytest.raises(StoreError, match=r"args beginning with: '\*\*\*'") as failed, store._translated():
        raise redis.ResponseError("unknown command 'AUTH', with args beginning with: 'hunter2'")
    assert failed.value.__context__ is None or failed.value.__suppress_context__


# -- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``ca.pem``, ``server.pem`` and ``server.key`` for 127.0.0.1, and ``stranger.pem``, another CA."""
    directory = tmp_path_factory.mktemp("certificates")
    ca_key, ca = make_ca("tests")
    _, stranger = make_ca("strangers")
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    issued = certificate("server", ca.subject, key.public_key()).add_extension(address, critical=False)
    issued = issued.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    (directory / "ca.pem").write_bytes(pem(ca))
    (directory / "stranger.pem").write_bytes(pem(stranger))
    (directory / "server.pem").write_bytes(pem(issued.sign(ca_key, hashes.SHA256())))
    (directory / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory


def make_ca(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = certificate(name, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return key, builder.sign(key, hashes.SHA256())


def certificate(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def pem(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def tls_server(tmp_path: Path, certificates: Path) -> Iterator[Server]:
    """A Redis that speaks TLS alone, with a password."""
    options = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--requirepass", PASSWORD]
    options += ["--tls-cert-file", f"{certificates}/server.pem", "--tls-key-file", f"{certificates}/server.key"]
    options += ["--tls-ca-cert-file", f"{certificates}/ca.pem"]

    def ready(port: int) -> redis.Redis:
        return redis.Redis(
            port=port, password=PASSWORD, ssl=True, ssl_ca_certs=f"{certificates}/ca.pem", host="127.0.0.1"
        )

    with run_redis_server(tmp_path, *options, ready=ready) as server:
        yield server


async def test_tls_with_the_right_ca_and_password_is_accepted(
    tls_server: Server, certificates: Path, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    url = f"rediss://default:{QUOTED}@127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        assert await store.get(make_entry(1).key) == make_entry(1)


@pytest.mark.parametrize(
    ("host", "option"),
    [("127.0.0.1", "?ssl_ca_certs={}/stranger.pem"), ("127.0.0.1", ""), ("localhost", "?ssl_ca_certs={}/ca.pem")],
    ids=["another CA", "the system's CAs", "another host's certificate"],
)
async def test_tls_refuses_a_server_that_does_not_prove_who_it_is(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float], host: str, option: str
) -> None:
    url = f"rediss://:{QUOTED}@{host}:{tls_server.port}/0" + option.format(certificates)
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="certificate verify failed") as failed:
            await store.bump("tag")
    assert failed.value.kind is Failure.LOST


async def test_tls_does_not_replace_the_password(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float]
) -> None:
    url = f"rediss://127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="AuthenticationError"):
            await store.bump("tag")


async def test_a_missing_file_of_ca_certificates_is_found_out_at_once(sealer: Sealer) -> None:
    store = open_store("rediss://localhost?ssl_ca_certs=/nowhere/ca.pem", sealer=sealer)
    assert store is not None
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem: there is no such file"):
        await store.open()


# -- URLs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisURL(host="localhost")),
        ("redis://localhost/", RedisURL(host="localhost")),
        ("redis://[::1]:7000/3", RedisURL(host="::1", port=7000, db=3)),
        (f"redis://u:{QUOTED}@h", RedisURL(host="h", username="u", password=PASSWORD)),
        ("rediss://h?ssl_ca_certs=/a%20b.pem", RedisURL(host="h", tls=True, ssl_ca_certs="/a b.pem")),
    ],
)
def test_a_url_of_redis_means(url: str, expected: RedisURL, sealer: Sealer) -> None:
    store = open_store(url, sealer=sealer)
    assert isinstance(store, RedisStore)
    assert store.url == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////var/b.db", "/var/b.db"), ("sqlite:///a b%20.db", "a b%20.db")],
)
def test_a_url_of_a_file_means(url: str, expected: str, sealer: Sealer) -> None:
    assert repr(open_store(url, sealer=sealer)) == f"SQLiteStore({expected!r})"


async def test_a_files_bound_is_the_one_that_was_asked_for(tmp_path: Path, sealer: Sealer) -> None:
    store = open_store(f"sqlite:///{tmp_path}/clips.db", sealer=sealer, max_bytes=5_000_000)
    assert store is not None
    await store.open()
    assert (await store.stats()).max_bytes == 5_000_000
    await store.close()


def test_memory_alone_is_no_store(sealer: Sealer) -> None:
    assert open_store("memory://", sealer=sealer) is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "no '://'"),
        ("clips.db", "no '://'"),
        ("rediss//:hunter2@localhost", "no '://'"),
        ("reddis://:hunter2@localhost", "the scheme 'reddis' is unknown"),
        ("postgres://u:hunter2@localhost/0", "the scheme 'postgres' is unknown"),
        ("hunter2@redis://localhost", "the scheme is unknown"),
        ("redis://", "the host is missing"),
        ("redis://:hunter2@:6379", "the host is missing"),
        ("redis:///0", "the host is missing"),
        ("redis://:hunter2@localhost:port", "the port must be a number"),
        ("redis://localhost:0", "the port must be a number"),
        ("redis://localhost:65536", "the port must be a number"),
        ("redis://:hunter2/x@localhost", "the port must be a number"),
        ("redis://[::1", "the port must be a number"),
        ("redis://:hunter2@localhost/clips", "must be a database number"),
        ("redis://localhost/-1", "must be a database number"),
        ("redis://localhost/0/1", "must be a database number"),
        ("redis://:hunter2@localhost?db=hunter2", "takes no options"),
        ("redis://localhost?ssl_ca_certs=/ca.pem", "takes no options"),
        ("rediss://localhost?ssl_cert_reqs=none", "the only option is ssl_ca_certs"),
        ("rediss://localhost?ssl_ca_certs=", "needs the path"),
        ("redis://localhost#1", "takes no options"),
        ("memory://x", "nothing follows"),
        ("sqlite://clips.db", "three slashes"),
        ("sqlite:///", "needs the name of a file"),
        ("sqlite:////var/lib/", "needs the name of a file"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///clips.db?mode=ro", "no options"),
    ],
)
def test_a_wrong_url_is_explained_with_the_valid_forms_and_without_the_password(
    url: str, what: str, sealer: Sealer
) -> None:
    with pytest.raises(ConfigError) as failed:
        open_store(url, sealer=sealer)
    assert what in str(failed.value)
    assert "rediss://" in str(failed.value)
    assert "hunter2" not in str(failed.value)


def test_importing_the_stores_loads_no_client() -> None:
    code = "import sys, sayonce.stores; print(sorted({'redis', 'sqlite3'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
