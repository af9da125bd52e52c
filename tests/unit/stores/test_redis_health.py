"""The health of a Redis: settings that do not suit a cache, and Sentinels with a login of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import StoreError
from sayonce.stores import open_store
from sayonce.stores.redis.health import Health
from sayonce.stores.redis.store import RedisStore
from sayonce.testing import FakeClock
from tests.helpers.deployments import SERVICE, Node, SentinelNode
from tests.helpers.redis_server import Server


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"maxmemory": "0"}, "Redis has no memory bound; set its maxmemory, and maxmemory-policy to volatile-lfu"),
        ({"maxmemory": "100mb", "maxmemory-policy": "noeviction"}, "a full Redis will refuse new clips (noeviction)"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "a full Redis may evict what has no expiry"),
        ({"maxmemory": "100mb", "maxmemory-policy": "volatile-lfu"}, None),
        ({"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"}, None),
    ],
)
async def test_settings_of_redis_that_do_not_suit_a_cache_are_told_at_the_start(
    redis_server: Server, sealer: Sealer, caplog: pytest.LogCaptureFixture, settings: dict[str, str], said: str | None
) -> None:
    with redis_server.client() as client:
        before = client.config_get("maxmemory*")
        for name, value in settings.items():
            client.config_set(name, value)
        store = open_store(redis_server.url, sealer=sealer)
        assert isinstance(store, RedisStore)
        await store.open()
        await asyncio.wait([store._examining])
        await store.close()
        for name in settings:
            client.config_set(name, before[name])
    messages = [record.getMessage() for record in caplog.records]
    if said is None:
        assert messages == []
    else:
        assert len(messages) == 1
        assert messages[0].startswith(f"redis 127.0.0.1:{redis_server.port}: {said}")


async def test_a_redis_that_is_down_or_tells_nothing_is_no_trouble_at_the_start(
    redis_server: Server, sealer: Sealer, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.client() as client:
        client.acl_setuser("mute", enabled=True, nopass=True, categories=["+@all"], commands=["-info"], keys=["*"])
        for url in ("redis://127.0.0.1:1", f"redis://mute:x@127.0.0.1:{redis_server.port}"):
            store = open_store(url, sealer=sealer)
            assert isinstance(store, RedisStore)
            await store.open()
            await asyncio.wait([store._examining])
            await store.close()
        client.acl_deluser("mute")
    assert caplog.records == []


async def test_health_of_redis_tells_of_memory_and_clock(redis_server: Server, sealer: Sealer) -> None:
    store = open_store(redis_server.url, sealer=sealer, budget_seconds=5)
    assert isinstance(store, RedisStore)
    (health,) = await store.health()
    await store.close()
    assert isinstance(health, Health)
    assert health.address == f"127.0.0.1:{redis_server.port}"
    assert health.used_bytes > 100_000
    assert health.clock > 1_700_000_000


# -- Sentinels with a login --------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[SentinelNode]:
    """A Sentinel with a password, of a primary with another one."""
    with Node(tmp_path).running() as primary:
        sentinel = SentinelNode(tmp_path, primary)
        with sentinel.running():
            sentinel.call("SENTINEL SET", SERVICE, "auth-pass", "of the primary")
            primary.call("CONFIG SET", "requirepass", "of the primary")
            sentinel.call("SENTINEL CONFIG SET", "sentinel-user", "watcher")
            sentinel.call("SENTINEL CONFIG SET", "sentinel-pass", "of the sentinel")
            sentinel.call("ACL SETUSER", "watcher", "on", ">of the sentinel", "allchannels", "+@all")
            sentinel.call("ACL SETUSER", "default", "off")
            yield sentinel


async def test_sentinels_and_primary_have_logins_of_their_own(
    guarded: SentinelNode, sealer: Sealer, clock: FakeClock, make_entry: Callable[..., Entry]
) -> None:
    options = "sentinel_username=watcher&sentinel_password=of%20the%20sentinel"
    url = f"redis+sentinel://:of%20the%20primary@{guarded.address}/{SERVICE}?{options}"
    store = open_store(url, sealer=sealer, clock=clock, budget_seconds=5)
    assert store is not None
    assert await store.put(make_entry(1))
    await store.close()


@pytest.mark.parametrize(
    ("login", "options"),
    [("", "sentinel_username=watcher&sentinel_password=of%20the%20sentinel"), (":of%20the%20primary@", "")],
    ids=["none for the primary", "none for the Sentinel"],
)
async def test_a_missing_login_for_sentinel_or_primary_is_told(
    guarded: SentinelNode, sealer: Sealer, login: str, options: str
) -> None:
    store = open_store(
        f"redis+sentinel://{login}{guarded.address}/{SERVICE}?{options}", sealer=sealer, budget_seconds=5
    )
    assert store is not None
    with pytest.raises(StoreError, match="Authentication"):
        await store.totals()
    await store.close()
