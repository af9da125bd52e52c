"""Bodies that nothing points to go, and no other: by hand, by itself, and while others write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.errors import StoreError
from sayonce.stores.base import SealedStore
from sayonce.stores.blobs.store import BlobStore, Body, name_of
from sayonce.stores.blobs.sweep import GRACE_SECONDS, sweep
from sayonce.stores.blobs.sweeper import EVERY_SECONDS, MAX_REMOVED, Sweeper
from sayonce.stores.blobs.url import open_blob_store
from sayonce.stores.redis.store import RedisStore
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.stores.url import RedisURL
from sayonce.testing import FakeClock
from tests.helpers.redis_server import emptied

MakeEntry = Callable[..., Entry]
HOUR = 3600
DAY = 24 * HOUR
OVER = HOUR + GRACE_SECONDS
"""After this a body's hour is certainly over, and the grace time too."""


@pytest.fixture(params=["sqlite+files", "valkey+s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock
) -> AsyncIterator[SealedStore]:
    """A store that keeps every body outside."""
    store: SealedStore
    if request.param == "sqlite+files":
        store, url = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock), f"file://{tmp_path}/bodies"
    else:
        server, url = emptied(request.getfixturevalue("valkey_session")), request.getfixturevalue("bucket").url
        where = RedisURL(host=server.host, port=server.port)
        store = RedisStore(where, sealer=sealer, clock=clock, budget_seconds=5)
    store.bodies = open_blob_store(url, secret=Secret(), clock=clock, inline_max_bytes=0)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def bodies(store: SealedStore) -> BlobStore:
    assert store.bodies is not None
    return store.bodies


async def names(bodies: BlobStore) -> set[str]:
    return {body.name async for page in bodies.list() for body in page}


def lasting(make_entry: MakeEntry, clock: FakeClock, number: int, **fields: Any) -> Entry:
    return make_entry(number, expires=clock() + 30 * DAY, **{"body": f"body {number}".encode(), **fields})


async def test_a_sweep_removes_bodies_without_a_pointer_and_no_others(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    in_files = isinstance(store, SQLiteStore)  # more than a page of each, where that is quick
    stay, go = (1300, 1200) if in_files else (60, 50)
    kept = [lasting(make_entry, clock, number) for number in range(stay)]
    for entry in kept:
        await store.put(entry)
    orphans = {name_of(await bodies.put(f"orphan {number}".encode())) for number in range(go)}
    before = await names(bodies)
    clock.advance(OVER)
    swept = await sweep(store.addresses(), bodies)
    assert (swept.pointers, swept.bodies, swept.removed, swept.dry) == (stay, stay + go, go, False)
    assert await names(bodies) == before - orphans
    for entry in kept[::20]:
        assert await store.get(entry.key) == entry
    assert (await sweep(store.addresses(), bodies)).removed == 0


async def test_a_sweep_leaves_a_body_for_its_hour_and_the_grace_time(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    await store.put(lasting(make_entry, clock, 1))
    clock.now -= clock.now % HOUR
    await bodies.put(b"orphan")
    clock.advance(HOUR + GRACE_SECONDS - 1)
    assert (await sweep(store.addresses(), bodies)).removed == 0
    clock.advance(1)
    assert (await sweep(store.addresses(), bodies)).removed == 1


@pytest.mark.parametrize("place", ["files", "s3"])
async def test_a_sweep_neither_sees_nor_removes_the_bodies_of_another_layout(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> None:
    url = f"file://{tmp_path}/bodies" if place == "files" else request.getfixturevalue("bucket").url
    ours, others = (
        open_blob_store(url, secret=Secret(), folder=folder, clock=clock) for folder in ("redis-2", "redis-3")
    )
    await ours.put(b"an orphan")
    address = await others.put(b"a body that another index points to")
    clock.advance(OVER)
    swept = await sweep(_nothing(), ours, without_pointers=True)
    assert (swept.bodies, swept.removed) == (1, 1)
    assert await others.get(address, 35) == b"a body that another index points to"


async def _nothing() -> AsyncIterator[bytes]:
    for address in ():
        yield address


@pytest.mark.parametrize("gone", ["expired", "deleted", "replaced", "cleared"])
async def test_a_sweep_removes_the_body_of_an_entry_that_is_gone(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock, gone: str
) -> None:
    entry = make_entry(1, expires=clock() + 0.05 if gone == "expired" else clock() + DAY)
    await store.put(entry)
    clock.advance(OVER)
    if gone == "expired":
        await asyncio.sleep(0.06)  # Redis has its own clock
    elif gone == "deleted":
        await store.delete(entry.key)
    elif gone == "cleared":
        await store.clear()
    else:
        await store.put(lasting(make_entry, clock, 1, body=b"another"))
    await store.put(lasting(make_entry, clock, 2))
    assert (await sweep(store.addresses(), bodies)).removed == 1
    assert await store.get(make_entry(2).key) is not None


async def test_a_dry_run_of_a_sweep_removes_nothing(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    await store.put(lasting(make_entry, clock, 1))
    await bodies.put(b"orphan")
    clock.advance(OVER)
    swept = await sweep(store.addresses(), bodies, dry=True)
    assert (swept.removed, swept.removed_bytes, swept.dry) == (1, 6, True)
    assert len(await names(bodies)) == 2


async def test_a_sweep_for_a_store_without_any_pointer_removes_nothing_unless_told_to(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    """Another store's index would take everybody's bodies away."""
    await bodies.put(b"somebody's")
    clock.advance(OVER)
    swept = await sweep(store.addresses(), bodies)
    assert (swept.removed, swept.dry) == (1, True)
    assert len(await names(bodies)) == 1
    assert not (await sweep(store.addresses(), bodies, without_pointers=True)).dry
    assert await names(bodies) == set()


async def test_a_sweep_removes_no_more_than_its_limit_at_once(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    await store.put(lasting(make_entry, clock, 1))
    for number in range(5):
        await bodies.put(f"orphan {number}".encode())
    clock.advance(OVER)
    assert [(await sweep(store.addresses(), bodies, limit=3)).removed for _ in range(3)] == [3, 2, 0]


async def test_a_sweep_removes_the_oldest_hours_beyond_the_bound_in_bytes(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    for number in range(6):
        await store.put(lasting(make_entry, clock, number, body=bytes([number]) * 1000))
        clock.advance(HOUR)
    clock.advance(GRACE_SECONDS)
    dry = await sweep(store.addresses(), bodies, max_bytes=3500, dry=True)
    swept = await sweep(store.addresses(), bodies, max_bytes=3500)
    assert dry.removed == swept.removed == 3
    there: list[object] = []
    for number in range(6):
        try:
            there.append(await store.get(make_entry(number).key) is not None)
        except Refused as refused:
            there.append(refused.reason)
    assert there == [Refusal.LOST] * 3 + [True] * 3


async def test_the_bound_of_bodies_in_bytes_spares_new_ones(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    for number in range(3):
        await store.put(lasting(make_entry, clock, number, body=bytes([number]) * 1000))
    assert (await sweep(store.addresses(), bodies, max_bytes=0)).removed == 0


async def test_a_sweep_whose_index_fails_half_way_loses_no_body(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await store.put(lasting(make_entry, clock, number))
    heads = store._heads

    async def failing(length: int) -> AsyncIterator[list[bytes]]:
        async for page in heads(length):
            yield page[:1]
            raise StoreError("gone")

    monkeypatch.setattr(store, "_heads", failing)
    clock.advance(OVER)
    with pytest.raises(StoreError, match="gone"):
        await sweep(store.addresses(), bodies)
    assert len(await names(bodies)) == 3


async def test_no_live_body_is_swept_while_others_write(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock
) -> None:
    """Few bodies for many keys, so that old ones are wanted again at the very moment in which they are swept."""
    chance = random.Random(7)
    live: dict[bytes, Entry] = {}
    sweeps = 0

    async def write(number: int) -> None:
        entry = make_entry(number, body=b"body %d" % chance.randrange(12), expires=clock() + 3 * HOUR)
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        await store.put(entry)
        live[entry.key] = entry

    async def sweep_on(done: asyncio.Event) -> None:
        nonlocal sweeps
        while not done.is_set():
            sweeps += (await sweep(store.addresses(), bodies, without_pointers=True)).removed > 0

    for _ in range(25 if isinstance(store, SQLiteStore) else 8):
        done = asyncio.Event()
        sweeping = asyncio.create_task(sweep_on(done))
        await asyncio.gather(*(write(number) for number in chance.sample(range(40), 20)))
        clock.advance(chance.uniform(600, 3 * HOUR))
        await asyncio.gather(*(write(number) for number in chance.sample(range(40), 20)))
        done.set()
        await sweeping
        for entry in live.values():
            found = await store.get(entry.key)
            assert found == entry or (found is None and entry.expires <= clock())
    assert sweeps > 2


async def test_a_sweep_leaves_files_alone_that_are_no_bodies(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    store.bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(), clock=clock, inline_max_bytes=0)
    await store.open()
    await store.put(lasting(make_entry, clock, 1))
    hours = ("2001-13-01T00", "2001-01-01T24", "1969-12-31T23")
    names = ("notes.txt", f"2001-01-01T00/{'g' * 64}", "2001-01-01T00/x", *(f"{hour}/{'0' * 64}" for hour in hours))
    others = [tmp_path / "bodies" / name for name in names]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.touch()
    clock.advance(OVER)
    assert (await sweep(store.addresses(), store.bodies)).bodies == 1
    assert all(other.exists() for other in others)
    await store.close()


async def test_the_directory_of_an_hour_goes_with_its_last_body(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    store.bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(), clock=clock, inline_max_bytes=0)
    await store.open()
    for _ in range(3):
        await store.bodies.put(b"orphan")
        clock.advance(HOUR)
    clock.advance(GRACE_SECONDS)
    await store.put(lasting(make_entry, clock, 1))
    assert (await sweep(store.addresses(), store.bodies)).removed == 3
    assert len(list((tmp_path / "bodies").iterdir())) == 1
    await store.close()


# -- by itself ---------------------------------------------------------------------------------------------------------


async def test_of_many_instances_one_sweeps_bodies_and_not_again_for_two_hours(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry
) -> None:
    stores = [SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock) for _ in range(3)]
    bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(), clock=clock, inline_max_bytes=0)
    for store in stores:
        store.bodies = bodies
        await store.open()
    sweepers = [Sweeper(store.addresses, store.leases, bodies, max_bytes=10**12) for store in stores]
    await stores[0].put(lasting(make_entry, clock, 1))
    await bodies.put(b"orphan")
    clock.advance(OVER)
    turns = []
    for seconds in (0, 1, EVERY_SECONDS - 2, 1):
        clock.advance(seconds)
        turns.append(sum(await asyncio.gather(*(sweeper.turn() for sweeper in sweepers))))
    assert turns == [1, 0, 0, 1]
    assert len(await names(bodies)) == 1
    sweeps = bodies.sweeps
    assert (sweeps.done, sweeps.failed, sweeps.withheld, sweeps.removed, sweeps.removed_bytes) == (2, 0, 0, 1, 6)
    assert sweeps.last == clock()
    for store in stores:
        await store.close()


async def test_a_sweeper_sweeps_by_itself_and_outlives_trouble(
    tmp_path: Path, sealer: Sealer, clock: FakeClock, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    store.bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(), clock=clock, inline_max_bytes=0)
    sweeper = Sweeper(store.addresses, store.leases, store.bodies, max_bytes=10**12, look_seconds=0.01)
    sweeper.start()
    while "bodies were not swept" not in caplog.text:  # as the store is not open
        await asyncio.sleep(0.01)
    await store.open()
    await store.put(lasting(make_entry, clock, 1))
    await store.bodies.put(b"orphan")
    clock.advance(OVER)
    while len(await names(store.bodies)) > 1:
        clock.advance(EVERY_SECONDS)
        await asyncio.sleep(0.01)
    await sweeper.stop()
    await store.close()
    assert MAX_REMOVED < 10**6
    assert store.bodies.sweeps.failed >= 1
    assert (store.bodies.sweeps.removed, store.bodies.sweeps.withheld) == (1, 0)


async def test_a_withheld_sweep_is_counted_as_withheld(tmp_path: Path, sealer: Sealer, clock: FakeClock) -> None:
    store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock)
    store.bodies = open_blob_store(f"file://{tmp_path}/bodies", secret=Secret(), clock=clock, inline_max_bytes=0)
    await store.open()
    await store.bodies.put(b"another's")
    clock.advance(OVER)
    assert await Sweeper(store.addresses, store.leases, store.bodies, max_bytes=10**12).turn()
    await store.close()
    assert (store.bodies.sweeps.withheld, store.bodies.sweeps.done, store.bodies.sweeps.removed) == (1, 0, 0)
    assert store.bodies.sweeps.last is None


async def test_bodies_that_a_failing_sweep_removed_are_counted(
    store: SealedStore, bodies: BlobStore, make_entry: MakeEntry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(lasting(make_entry, clock, 1))
    for number in range(3):
        await bodies.put(b"orphan %d" % number)
    clock.advance(OVER)
    listed = bodies.list

    async def failing() -> AsyncIterator[list[Body]]:
        async for page in listed():
            yield page[:2]
            raise StoreError("gone")

    monkeypatch.setattr(bodies, "list", failing)
    with pytest.raises(StoreError, match="gone"):
        await Sweeper(store.addresses, store.leases, bodies, max_bytes=10**12).turn()
    monkeypatch.undo()
    left = len(await names(bodies))
    removed = 4 - left
    assert removed in (1, 2)  # as the live one was among those that were listed, or not
    sweeps = bodies.sweeps
    assert (sweeps.done, sweeps.removed, sweeps.removed_bytes) == (0, removed, removed * len(b"orphan 0"))
