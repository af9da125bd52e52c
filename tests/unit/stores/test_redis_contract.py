"""The contract of stores and the sharing of flights, under the shipped ACL, through Sentinels and in a Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from sayonce.cache import Cache, lease
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Secret
from sayonce.errors import StoreError
from sayonce.stores import open_store
from sayonce.stores.redis.names import name_of
from sayonce.stores.redis.store import RedisStore
from sayonce.testing import FakeClock
from tests.helpers.deployments import Cluster, Node, SentinelSet
from tests.helpers.paths import ROOT
from tests.helpers.redis_server import Server, emptied
from tests.unit.cache import test_cross_process as test_shared_flights
from tests.unit.stores import test_contract as test_store_contract
from tests.unit.stores.test_contract import Kept

ACL_FILE = ROOT / "deploy/redis/sayonce.acl"
PASSWORD = "only a test's"
KINDS = ["acl on valkey", "acl on redis", "sentinel", "cluster", "acl in a cluster"]

LEFT_OUT = "test_stats_of_a_store_tell_entries_and_bytes"  # replication has buffers of its own, which come and go


def promises() -> dict[str, Callable[..., Any]]:
    """Return what is promised of every store and of every shared flight."""
    suites = {**vars(test_store_contract), **vars(test_shared_flights)}
    fixtures = {"store", "kept", "instances"}
    return {
        name: test
        for name, test in suites.items()
        if name.startswith("test_") and name != LEFT_OUT and fixtures & inspect.signature(test).parameters.keys()
    }


globals().update(promises())


def acl_line() -> str:
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    return ACL_FILE.read_text().replace("REPLACE-WITH-THE-SHA-256-OF-THE-PASSWORD", digest)


def restrict(server: Server | Node) -> None:
    """Give a server the shipped user."""
    with server.client() as client:
        client.execute_command("ACL SETUSER", *acl_line().split()[1:])


def with_login(url: str) -> str:
    return url.replace("://", f"://sayonce:{quote(PASSWORD)}@")


def restricted(server: Server) -> str:
    restrict(emptied(server))
    return with_login(server.url)


def reach(kind: str, request: pytest.FixtureRequest) -> tuple[str, Callable[[], Any]]:
    """Return the URL of an empty deployment, and what makes a client that may do everything there."""
    if kind.startswith("acl on"):
        server: Server = request.getfixturevalue(f"{kind.removeprefix('acl on ')}_session")
        return restricted(server), server.client
    if kind == "sentinel":
        sentinels: SentinelSet = request.getfixturevalue("sentinel_session")
        sentinels.primary.call("FLUSHALL")
        return sentinels.url, sentinels.primary.client
    cluster: Cluster = request.getfixturevalue("cluster_session")
    cluster.flush()
    url = cluster.url
    if kind.startswith("acl"):
        for node in cluster.nodes:
            restrict(node)
        url = with_login(url)
    return url, lambda: redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port)


@pytest.fixture(params=KINDS)
async def kept(request: pytest.FixtureRequest, sealer: Sealer, clock: FakeClock) -> AsyncIterator[Kept]:
    url, client = reach(request.param, request)
    store = open_store(url, sealer=sealer, clock=clock, budget_seconds=5)
    assert store is not None

    def plant(key: bytes, sealed: bytes) -> None:
        admin = client()
        admin.set(name_of(key), sealed)
        admin.close()

    await store.open()
    yield Kept(store, plant)
    await store.close()


@pytest.fixture
async def store(kept: Kept) -> Any:
    return kept.store


@pytest.fixture(params=KINDS)
async def instances(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    url, _ = reach(request.param, request)
    async with contextlib.AsyncExitStack() as stack:

        async def instance() -> Cache:
            store = open_store(url, sealer=Sealer(Secret()), budget_seconds=0.5)
            return await stack.enter_async_context(Cache(store, budget_seconds=0.5))

        yield instance


async def test_stats_and_clear_reach_every_server_of_a_cluster(
    store: RedisStore, make_entry: Callable[..., Entry]
) -> None:
    for number in range(60):
        await store.put(make_entry(number))
    assert (await store.stats()).entries == 60
    assert await store.clear() == 60
    assert (await store.stats()).entries == 0


async def test_every_entry_of_a_cluster_is_listed_whichever_server_holds_it(
    store: RedisStore, make_entry: Callable[..., Entry]
) -> None:
    await store.count({"hits": 1})
    for number in range(30):
        await store.put(make_entry(number))
    heads = [head async for heads in store._heads(7) for head in heads]
    assert heads == [heads[0]] * 30
    assert heads[0].startswith(b"SYO")


# -- the shipped ACL ---------------------------------------------------------------------------------------------------


@pytest.fixture
def acl_node(tmp_path: Path) -> Iterator[Node]:
    """A server that was started with the shipped file."""
    (tmp_path / "users.acl").write_text(acl_line())
    with Node(tmp_path, "--aclfile", f"{tmp_path}/users.acl").running() as node:
        yield node


def test_the_shipped_acl_file_is_valid_and_allows_no_more_than_is_needed(acl_node: Node) -> None:
    with acl_node.client(username="sayonce", password=PASSWORD) as client:
        assert client.set("sayonce:{x}", "1")
        for command in (
            "SET other 1",
            "GET other",
            "FLUSHALL",
            "KEYS *",
            "CONFIG GET *",
            "SHUTDOWN",
            "CLIENT KILL TYPE normal",
            "EVAL return(redis.call('SET','other','1')) 0",
            "PUBLISH channel x",
            "ACL LIST",
            "DEBUG SLEEP 0",
        ):
            with pytest.raises(redis.ResponseError, match=r"permission|access"):
                client.execute_command(*command.split(" "))


async def test_the_shipped_acl_denies_nothing_that_the_store_does(
    valkey: Server, sealer: Sealer, clock: FakeClock, make_entry: Callable[..., Entry]
) -> None:
    store = open_store(restricted(valkey), sealer=sealer, clock=clock, budget_seconds=5)
    assert isinstance(store, RedisStore)
    with valkey.client() as admin:
        admin.acl_log_reset()
        await store.open()
        await store.health()
        await store.put(make_entry(1))
        assert None not in await asyncio.gather(*(store.get(make_entry(1).key) for _ in range(20)))
        named = [client for client in admin.client_list() if client["user"] == "sayonce"]
        names = {client["lib-name"].split("_v")[0] for client in named}
        assert names - {""} == {"redis-py(sayonce", "sayonce"}  # one that is being opened has none yet
        assert admin.acl_log() == []
    await store.close()


async def test_a_redis_user_without_the_right_to_name_its_library_is_served(
    redis_session: Server, sealer: Sealer, clock: FakeClock, make_entry: Callable[..., Entry]
) -> None:
    url = restricted(redis_session)
    with redis_session.client() as admin:
        admin.execute_command("ACL SETUSER", "sayonce", "-client")
    store = open_store(url, sealer=sealer, clock=clock, budget_seconds=5)
    assert store is not None
    assert await store.put(make_entry(1))
    await store.close()


async def test_a_redis_user_without_a_right_is_told_which_one(
    redis_session: Server, sealer: Sealer, clock: FakeClock
) -> None:
    url = restricted(redis_session)
    with redis_session.client() as admin:
        admin.execute_command("ACL SETUSER", "sayonce", "-get")
    store = open_store(url, sealer=sealer, clock=clock, budget_seconds=5)
    assert store is not None
    with pytest.raises(StoreError, match=r"NoPermissionError: .*'get'"):
        await store.get(bytes(32))
    await store.close()
