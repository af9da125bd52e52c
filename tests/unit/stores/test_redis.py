"""What the Redis store promises beyond the contract: trouble told apart, nothing crossed, nothing leaked, TLS."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import Failure, StoreError
from sayonce.stores.redis.names import TOTALS, name_of, table_name
from sayonce.stores.redis.server import FAILURES, MAX_CONNECTIONS, kind_of
from sayonce.stores.redis.store import RedisStore
from sayonce.stores.url import RedisURL
from tests.helpers.deployments import free_port
from tests.helpers.redis_server import Server, run_redis_server
from tests.helpers.redis_stores import PASSWORD, QUOTED, opened
from tests.helpers.tcp_proxy import wire_to

MakeEntry = Callable[..., Entry]


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
        assert client.keys() == [f"sayonce:2:{{{entry.key.hex()}}}".encode()]
        assert 59_000 < client.pttl(name_of(entry.key)) <= 60_000
        store.stale_seconds = 100
        await store.put(entry)
        assert 159_000 < client.pttl(name_of(entry.key)) <= 160_000


async def test_a_read_does_not_prolong_the_servers_own_time_to_live(redis_server, store, make_entry) -> None:
    entry = make_entry(1)
    await store.put(entry)
    with redis_server.client() as server:
        server.pexpire(name_of(entry.key), 5000)
        assert await store.get(entry.key) == entry
        assert server.pttl(name_of(entry.key)) <= 5000


async def test_an_entry_of_the_far_future_is_kept(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    entry = make_entry(1, expires=1e300)
    await store.put(entry)
    assert await store.get(entry.key) == entry


async def test_a_hit_from_redis_costs_one_get_and_nothing_else(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    await store.put(make_entry(1))
    await store.get(make_entry(1).key)  # makes a connection
    with redis_server.client() as client:
        client.config_resetstat()
        for _ in range(3):
            await store.get(make_entry(1).key)
        calls = {name: figures["calls"] for name, figures in client.info("commandstats").items()}
    for unrelated in ("cmdstat_config|resetstat", "cmdstat_info", "cmdstat_time"):  # the look at the settings
        calls.pop(unrelated, None)
    assert calls == {"cmdstat_get": 3}


async def test_clear_leaves_keys_of_other_programs_in_redis(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    with redis_server.client() as client:
        client.set("another program's", "value")
        for number in range(2500):
            client.set(name_of(number.to_bytes(32)), b"x")
        await store.write_field("purges", "tag", b"record")
        await store.count({"hits": 1})
        assert await store.clear() == 2500
        assert set(client.keys()) == {b"another program's", TOTALS.encode(), table_name("purges").encode()}


async def test_stats_of_redis_tell_the_servers_memory_and_its_bound(store: RedisStore, redis_server: Server) -> None:
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
    assert failed.value.failure is Failure.FULL
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
    assert failed.value.failure is Failure.FULL


async def test_a_value_of_another_type_is_a_miss_and_is_replaced(
    store: RedisStore, redis_server: Server, make_entry: MakeEntry
) -> None:
    entry = make_entry(1)
    with redis_server.client() as client:
        client.lpush(name_of(entry.key), "x")
    assert await asyncio.gather(*(store.get(entry.key) for _ in range(5))) == [None] * 5
    assert await store.put(entry)
    assert await store.get(entry.key) == entry


async def test_a_redis_that_was_down_is_found_again_without_reopening_the_store(
    redis_session: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float], tmp_path: Path
) -> None:
    port = free_port()
    async with opened(f"redis://127.0.0.1:{port}", sealer, clock=clock) as store:
        with pytest.raises(StoreError, match=f"redis://127.0.0.1:{port}/0: ConnectionError") as failed:
            await store.get(make_entry(1).key)
        assert failed.value.failure is Failure.LOST
        async with proxy(redis_session.port, port) as wire:
            assert await store.put(make_entry(1))
            wire.hold()
            reading = asyncio.create_task(store.get(make_entry(1).key))
            await wire.asked.wait()
            wire.cut()
            with pytest.raises(StoreError) as failed:
                await reading
            assert failed.value.failure is Failure.LOST
            wire.release()
            assert await store.get(make_entry(1).key) == make_entry(1)


async def test_a_redis_that_hangs_is_given_up_in_time(
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
        assert failed.value.failure is Failure.TIMEOUT
        assert await store.get(make_entry(1).key) == make_entry(1)


async def test_waiting_for_a_connection_ends_with_the_budget_and_is_not_an_outage(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    port = free_port()
    async with (
        proxy(redis_server.port, port) as wire,
        opened(f"redis://127.0.0.1:{port}", sealer, budget_seconds=0.5, clock=clock) as store,
    ):
        wire.hold()
        holders = [asyncio.create_task(store.read_field("table", "name")) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="No connection available") as failed:
            await store.totals()
        assert failed.value.failure is Failure.BUSY
        wire.release()
        assert await asyncio.gather(*holders) == [None] * MAX_CONNECTIONS


def exceptions_of_the_client() -> list[type[Exception]]:
    things = vars(redis.exceptions).values()
    return [thing for thing in things if isinstance(thing, type) and issubclass(thing, Exception)]


@pytest.mark.parametrize("error", exceptions_of_the_client())
def test_every_exception_of_the_redis_client_becomes_a_store_error(error: type[Exception], sealer: Sealer) -> None:
    store = RedisStore(RedisURL(host="localhost"), sealer=sealer)
    instance = error.__new__(error)
    Exception.__init__(instance, "what went wrong")
    with (
        pytest.raises(StoreError, match=r"^redis://localhost:6379/0: \w+: what went wrong$") as failed,
        store._translated(),
    ):
        raise instance
    assert failed.value.failure is kind_of(instance)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.TimeoutError("Timeout reading from socket"), Failure.TIMEOUT),
        (redis.ConnectionError("No connection available."), Failure.BUSY),
        (redis.ConnectionError("Connection refused"), Failure.LOST),
        (redis.BusyLoadingError("loading the dataset in memory"), Failure.REFUSED),
        (redis.AuthenticationError("invalid password"), Failure.REFUSED),
        (redis.exceptions.NoPermissionError("no permissions"), Failure.REFUSED),
        (redis.exceptions.OutOfMemoryError("command not allowed"), Failure.FULL),
        (redis.exceptions.ReadOnlyError("You can't write against a read only replica."), Failure.FULL),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), Failure.FULL),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), Failure.FULL),
        (redis.exceptions.ClusterDownError("The cluster is down"), Failure.REFUSED),
        (redis.exceptions.MovedError("1 127.0.0.1:7000"), Failure.BUSY),
        (redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"), Failure.BUSY),
        (redis.InvalidResponse("Protocol error"), Failure.BROKEN),
        (redis.exceptions.ChildDeadlockedError("forked"), Failure.BROKEN),
    ],
)
def test_failures_of_redis_are_told_apart(error: Exception, kind: Failure) -> None:
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
        wire.hold()
        cancelled = asyncio.create_task(store.get(first.key))
        await wire.asked.wait()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        wire.release()
        assert await store.get(second.key) == second  # and not "first", which nobody waits for any more


async def test_after_a_silence_no_idle_connection_is_used_again(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    async with (
        wire_to(redis_server.port) as wire,
        opened(wire.url, sealer, budget_seconds=0.2, clock=clock) as store,
    ):
        await asyncio.gather(*(store.read_field("table", "name") for _ in range(10)))
        wire.swallow()  # as a firewall that has forgotten every connection
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.totals()
        wire.heal()
        async with asyncio.timeout(2):  # one that leads nowhere would never answer
            assert await asyncio.gather(*(store.totals() for _ in range(5))) == [{}] * 5


async def test_a_busy_event_loop_gives_no_connection_up(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    async with opened(redis_server.url, sealer, budget_seconds=0.05, clock=clock) as store:
        await store.put(make_entry(1))
        (server,) = await store._servers.primaries()
        for ask in (partial(store.get, make_entry(1).key), store.totals) * 3:
            asked = asyncio.create_task(ask())
            await asyncio.sleep(0)
            time.sleep(0.2)  # work of this process
            asked.cancel()
            await asyncio.wait([asked])
        assert server.times_unanswered == 0


async def test_a_read_that_every_caller_has_given_up_does_not_block_the_connection(
    redis_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    port = free_port()
    async with (
        proxy(redis_server.port, port) as wire,
        opened(f"redis://127.0.0.1:{port}", sealer, clock=clock) as store,
    ):
        await store.put(make_entry(1))
        wire.hold()
        waiting = [asyncio.create_task(store.get(make_entry(1).key)) for _ in range(30)]
        await wire.asked.wait()
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        wire.release()
        assert await store.get(make_entry(1).key) == make_entry(1)


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


async def test_the_right_password_of_redis_is_accepted_and_shows_nowhere(
    locked_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    async with opened(f"redis://:{QUOTED}@127.0.0.1:{locked_server.port}/0", sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        for shown in (
            repr(store),
            str(store),
            repr(store.url),
            repr(store._servers._only),
            repr(store._servers._only._connections.client.connection_pool),
        ):
            assert PASSWORD not in shown
            assert QUOTED not in shown


@pytest.mark.parametrize(("login", "refusal"), [("", "AuthenticationError"), (":wrong-secret@", "WRONGPASS|invalid")])
async def test_a_wrong_password_of_redis_is_a_store_error_that_does_not_repeat_it(
    locked_server: Server, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float], login: str, refusal: str
) -> None:
    async with opened(f"redis://{login}127.0.0.1:{locked_server.port}", sealer, clock=clock) as store:
        with pytest.raises(StoreError, match=refusal) as failed:
            await store.get(make_entry(1).key)
    assert failed.value.failure is Failure.REFUSED
    assert "wrong-secret" not in str(failed.value)


def test_an_error_of_redis_that_repeats_the_password_is_not_quoted(sealer: Sealer) -> None:
    store = RedisStore(RedisURL(host="h", password="hunter2"), sealer=sealer)
    with pytest.raises(StoreError, match=r"args beginning with: '\*\*\*'") as failed, store._translated():
        raise redis.ResponseError("unknown command 'AUTH', with args beginning with: 'hunter2'")
    assert failed.value.__context__ is None or failed.value.__suppress_context__
