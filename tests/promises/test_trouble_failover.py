"""A Cluster and a Sentinel set that lose a primary, and slots that move, while requests go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis

from sayonce.cache.lease import LEASE_SECONDS
from sayonce.cache.purge_table import TABLE
from sayonce.core.outcome import Outcome
from sayonce.stores.redis.names import table_name
from sayonce.stores.redis.store import RedisStore
from tests.helpers.deployments import NODE_TIMEOUT_MS, Cluster, Node, SentinelSet, wait_until
from tests.helpers.store_in_trouble import BOUND_SECONDS, KNOWN, RESUMES_SECONDS, SLACK_SECONDS, Stand, standing

MANY = range(60)
"""Enough for every primary to have some."""
FILLED_SECONDS = 3 * LEASE_SECONDS
"""A server that a test before has just revived may still hold the lease of somebody who never heard that it got it."""
Loss = Callable[[Node], None]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")).running() as cluster:
        yield cluster


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    """A set of its own for each test: Sentinels take longer to make up their minds than to start."""
    with SentinelSet(tmp_path).running() as sentinels:
        yield sentinels


@pytest.fixture
def in_cluster(cluster: Cluster) -> Iterator[Cluster]:
    cluster.flush()
    yield cluster
    cluster.revive()


@pytest.fixture(params=[Node.kill, Node.stop], ids=["killed", "stopped"])
def loss(request: pytest.FixtureRequest) -> Loss:
    return request.param


async def soon(condition: Callable[[], object]) -> float:
    """Wait in a thread for what the servers do, and return when it was."""
    await asyncio.to_thread(wait_until, condition)
    return time.monotonic()


async def asked_all_the_while(stand: Stand, until: asyncio.Task[float]) -> None:
    """Ask for what is known again and again; every answer is checked, and that it came in time."""
    while not until.done():
        await stand.ask_all(KNOWN)
        await asyncio.sleep(0.05)


async def has_all_again(stand: Stand, since: float, seconds: float = RESUMES_SECONDS) -> None:
    """Every known one is a hit again soon after the servers are one again."""
    while await stand.ask_all(MANY) != {Outcome.HIT}:
        assert time.monotonic() - since < seconds, stand.cache.counters
        await stand.cache.settle()


async def hits_come_back(stand: Stand, numbers: Sequence[int] = MANY) -> None:
    """Ask until every one is a hit, however long a busy machine takes; the bound is for hits that never come."""
    async with asyncio.timeout(60):
        while set(await asyncio.gather(*map(stand.ask, numbers))) != {Outcome.HIT}:
            await asyncio.sleep(0.05)


async def filled(stand: Stand) -> None:
    await has_all_again(stand, time.monotonic(), FILLED_SECONDS)
    stand.slowest_seconds = 0.0


# -- Cluster -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_cluster_that_loses_a_primary_fails_nobody_and_is_whole_again_with_its_replica(
    in_cluster: Cluster, loss: Loss
) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        lost = in_cluster.owner(stand.name(0))
        loss(lost)
        served = asyncio.create_task(soon(lambda: in_cluster.replaced(lost)))
        await asked_all_the_while(stand, served)
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
        await has_all_again(stand, await served)
        assert stand.cache.store_state == "ok"


async def test_every_answer_is_right_while_a_cluster_replaces_its_lost_primary(in_cluster: Cluster) -> None:
    """A small version without times, for machines of any speed."""
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        lost = in_cluster.owner(stand.name(0))
        lost.kill()
        await asked_all_the_while(stand, asyncio.create_task(soon(lambda: in_cluster.replaced(lost))))
        await hits_come_back(stand)


@pytest.mark.slow
async def test_while_one_primary_is_gone_the_keys_of_the_others_are_hits(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        owners = {number: in_cluster.owner(stand.name(number)) for number in MANY}
        outcomes = []
        with in_cluster.in_part(stand.name(0)) as lost:
            ended = time.monotonic() + 3 * NODE_TIMEOUT_MS / 1000
            while time.monotonic() < ended:
                await stand.ask_all(MANY)
                outcomes += [await stand.ask(number) for number, owner in owners.items() if owner is not lost]
        assert outcomes.count(Outcome.HIT) > 0.9 * len(outcomes)
        assert stand.cache.store_state in ("ok", "incomplete")  # the one that is gone may have had the purges
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS


async def test_with_partial_coverage_a_lost_primary_costs_no_hit_of_the_others(in_cluster: Cluster) -> None:
    """A small version without times: once the cluster has given the primary up, every key of the others is a hit."""
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        owners = {number: in_cluster.owner(stand.name(number)) for number in MANY}
        with in_cluster.in_part(stand.name(0)) as lost:
            others = [number for number, owner in owners.items() if owner is not lost]
            witness = owners[others[0]]
            failed = soon(lambda: witness.client().cluster("INFO")["cluster_slots_fail"] != "0")
            await asked_all_the_while(stand, asyncio.create_task(failed))
            await hits_come_back(stand, others)
            assert await stand.ask(0) is Outcome.LED


@pytest.mark.slow
async def test_calls_that_wait_for_a_primary_end_when_it_is_given_up(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        servers = stand.cache.store._servers  # type: ignore[union-attr]
        name = stand.name(0)
        stand.cache._housekeeper._task.cancel()  # whose own calls would tell of the primary, too
        in_cluster.owner(name).stop()
        patient = asyncio.create_task(servers.at(name, lambda redis: redis.get(name)))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await servers.at(name, lambda redis: redis.get(name))
        with pytest.raises(redis.TimeoutError):
            async with asyncio.timeout(0.5):  # and not after a second, as by itself
                await patient


async def test_cancelled_calls_do_not_count_as_failures_of_a_primary(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        for _ in range(10):
            asked = asyncio.create_task(stand.cache.find(stand.cache.key(0)))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        assert await stand.ask(0) is Outcome.HIT


@pytest.mark.slow
async def test_a_cluster_that_is_gone_as_a_whole_is_found_again(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        for node in in_cluster.nodes:
            node.stop()
        for _ in range(5):
            await stand.ask_all(KNOWN)
        await stand.cache.settle()
        assert stand.cache.store_state == "failing"
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
        for node in in_cluster.nodes:
            node.cont()
        await has_all_again(stand, await soon(in_cluster.served))


async def test_a_hash_slot_that_moves_keeps_its_hits_before_during_and_after_the_move(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url) as stand:
        await filled(stand)
        name = stand.name(0)
        with in_cluster.moving(name) as (source, target):
            assert await stand.ask(0) is Outcome.HIT  # not moved yet
            source.call("MIGRATE", target.host, target.port, name, 0, 5000)
            assert await stand.ask(0) is Outcome.HIT  # ASK
            assert await stand.cache.store.delete(stand.cache.key(0))  # and so for writes
            await stand.ask(0)
            await stand.cache.settle()
            assert await stand.ask(0) is Outcome.HIT
        assert await stand.ask(0) is Outcome.HIT  # MOVED
        assert stand.cache.store_state == "ok"
        assert await stand.ask_all(MANY) == {Outcome.HIT}


async def test_the_address_of_one_replica_is_enough_to_find_the_cluster(in_cluster: Cluster) -> None:
    replica = next(node for node in in_cluster.nodes if node not in in_cluster.primaries())
    async with standing(f"redis+cluster://127.0.0.1:1,{replica.address}") as stand:
        await filled(stand)


async def test_calls_before_the_clusters_topology_is_known_are_answered_too(in_cluster: Cluster) -> None:
    async with standing(in_cluster.url, budget_seconds=1) as stand:
        assert isinstance(stand.cache.store, RedisStore)
        found = await asyncio.gather(*(stand.cache.store.get(number.to_bytes(32)) for number in range(300)))
        assert found == [None] * 300


# -- Sentinel ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_sentinel_set_that_loses_its_primary_fails_nobody_and_hits_at_the_next(
    sentinels: SentinelSet, loss: Loss
) -> None:
    async with standing(sentinels.url) as stand:
        await filled(stand)
        lost = sentinels.primary
        loss(lost)
        promoted = asyncio.create_task(soon(lambda: sentinels.primary is not lost))
        await asked_all_the_while(stand, promoted)
        assert stand.slowest_seconds < BOUND_SECONDS + SLACK_SECONDS
        await has_all_again(stand, await promoted)
        assert stand.cache.store_state == "ok"


async def test_every_answer_is_right_while_sentinels_replace_a_lost_primary(sentinels: SentinelSet) -> None:
    """A small version without times, for machines of any speed."""
    async with standing(sentinels.url) as stand:
        await filled(stand)
        lost = sentinels.primary
        lost.kill()
        await asked_all_the_while(stand, asyncio.create_task(soon(lambda: sentinels.primary is not lost)))
        await hits_come_back(stand)


async def test_a_sentinel_that_hangs_keeps_nobody_from_the_primary(sentinels: SentinelSet) -> None:
    sentinels.sentinels[0].stop()
    try:
        async with standing(sentinels.url) as stand:
            await asyncio.sleep(1)
            await filled(stand)
    finally:
        sentinels.sentinels[0].cont()


async def test_a_service_name_that_no_sentinel_knows_is_named_in_the_error(
    sentinels: SentinelSet, caplog: pytest.LogCaptureFixture
) -> None:
    async with standing(sentinels.url.replace("mymaster", "another")) as stand:
        for _ in range(5):
            await stand.ask_all(KNOWN)
    assert "knows no service 'another'" in caplog.text


# -- what must outlive a server ----------------------------------------------------------------------------------------


async def test_purges_outlive_a_server_that_forgot_them(sentinels: SentinelSet) -> None:
    async with standing(sentinels.url) as stand:
        before = stand.cache._invalidation.known.stamp(["voice=alice"], bytes(32))
        await stand.cache.purge("voice=alice")
        purged = sentinels.primary.call("HGETALL", table_name(TABLE))
        assert len(purged) == 1
        sentinels.primary.call("DEL", table_name(TABLE))
        while sentinels.primary.call("HLEN", table_name(TABLE)) == 0:
            await stand.cache._invalidation.read()
        async with standing(sentinels.url) as another:
            while not another.cache.view.ever_read:  # until then nothing that is stored answers
                await another.cache._invalidation.read()
            assert not another.cache._invalidation.known.current(before)
