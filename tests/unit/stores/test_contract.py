"""What every store promises, tried on each of them."""

from __future__ import annotations

import asyncio
import pickle
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sayonce
from sayonce.core.envelope import Entry, Refused, Sealer
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.stores.base import SealedStore, Store
from sayonce.stores.blobs.url import open_blob_store
from sayonce.stores.leases import Claimed, Leases
from sayonce.stores.memory import MemoryStore
from sayonce.stores.records import COMPUTATION, Question, Records
from sayonce.stores.redis.names import name_of
from sayonce.stores.redis.store import RedisStore
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.stores.url import RedisURL
from sayonce.testing import FakeClock
from tests.helpers.documents import code_blocks
from tests.helpers.memory_leases import share
from tests.helpers.paths import ROOT
from tests.helpers.redis_server import emptied

MakeEntry = Callable[..., Entry]


@dataclass
class Kept:
    """A store, and a way to put bytes into it behind its back."""

    store: Store
    plant: Callable[[bytes, bytes], None]


def no_plant(key: bytes, sealed: bytes) -> None:
    raise NotImplementedError


def sqlite_plant(path: Path) -> Callable[[bytes, bytes], None]:
    def plant(key: bytes, sealed: bytes) -> None:
        db = sqlite3.connect(path)
        with db:
            db.execute("DELETE FROM entries WHERE key = ?", (key,))
            added = db.execute("INSERT INTO entries (key, expires, used, size) VALUES (?, 1e12, 0, 1)", (key,))
            db.execute("INSERT INTO bodies VALUES (?, ?)", (added.lastrowid, sealed))
        db.close()

    return plant


def example_store(path: Path, *, sealer: Sealer, clock: FakeClock) -> Any:
    """Make the store that ``docs/how-to/add-a-store.md`` shows, from the code on that page."""
    (code,) = code_blocks("how-to/add-a-store.md")
    names: dict[str, Any] = {}
    exec(compile(code, "add-a-store.md", "exec"), names)
    return names["DirectoryStore"](path, sealer=sealer, clock=clock)


def make_kept(kind: str, request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock) -> Kept:
    """Make a store; one of ``index+bodies`` keeps all that is not empty outside."""
    kind, _, outside = kind.partition("+")
    if outside:
        kept = make_kept(kind, request, tmp_path, sealer, clock)
        assert isinstance(kept.store, SealedStore)
        url = f"file://{tmp_path}/bodies" if outside == "files" else request.getfixturevalue("bucket").url
        kept.store.bodies = open_blob_store(url, secret=Secret(), clock=clock, inline_max_bytes=0)
        return kept
    if kind == "memory":
        return Kept(MemoryStore(clock=clock), no_plant)
    if kind == "directory":
        store = example_store(tmp_path / "store", sealer=sealer, clock=clock)
        return Kept(store, lambda key, sealed: store.file_of(key).write_bytes(sealed))
    if kind == "sqlite":
        path = tmp_path / "clips.db"
        return Kept(SQLiteStore(path, sealer=sealer, clock=clock), sqlite_plant(path))
    server = emptied(request.getfixturevalue(f"{kind}_session"))
    store = RedisStore(RedisURL(host=server.host, port=server.port), sealer=sealer, clock=clock, budget_seconds=5)

    def plant(key: bytes, sealed: bytes) -> None:
        with server.client() as client:
            client.set(name_of(key), sealed)

    return Kept(store, plant)


@pytest.fixture(
    params=["memory", "sqlite", "sqlite+files", "directory", "directory+files", "valkey", "valkey+s3", "redis"]
)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock
) -> AsyncIterator[Store]:
    store = make_kept(request.param, request, tmp_path, sealer, clock).store
    await store.open()
    yield store
    await store.close()


@pytest.fixture(params=["sqlite", "sqlite+files", "directory", "directory+files", "valkey", "valkey+s3", "redis"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock) -> AsyncIterator[Kept]:
    kept = make_kept(request.param, request, tmp_path, sealer, clock)
    await kept.store.open()
    yield kept
    await kept.store.close()


def test_the_store_that_the_documents_show_takes_120_lines_at_most() -> None:
    """It is the store ``directory`` of the tests below."""
    (code,) = code_blocks("how-to/add-a-store.md")
    assert len(code.splitlines()) <= 120


async def test_the_store_that_the_documents_show_serves_a_cache_as_they_say(tmp_path: Path) -> None:
    names: dict[str, Any] = {"path": tmp_path, "sayonce": sayonce}
    page = (ROOT / "docs/how-to/add-a-store.md").read_text()
    imports, call = re.search(r"^After `(.*)`, `(sayonce\.Cache\(.*)` uses it\.$", page, re.MULTILINE).groups()  # type: ignore[union-attr]
    (code,) = code_blocks("how-to/add-a-store.md")
    exec(f"{code}\n{imports}", names)
    async with eval(call.replace('"/var/cache/speech"', "path"), names) as cache:
        assert (await cache.fetch("key", lambda: b"value")).body == b"value"


async def test_an_entry_that_is_put_comes_back_equal(store: Store, make_entry: MakeEntry) -> None:
    entry = make_entry(1, body=bytes(range(256)) * 400)
    assert await store.put(entry)
    assert await store.get(entry.key) == entry


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_bodies_of_any_size_come_back_equal(store: Store, make_entry: MakeEntry, size: int) -> None:
    entry = make_entry(1, body=b"\x00\xff\n" * size)
    assert await store.put(entry)
    assert await store.get(entry.key) == entry


async def test_an_unknown_key_is_a_miss(store: Store, make_entry: MakeEntry) -> None:
    await store.put(make_entry(1))
    assert await store.get(make_entry(2).key) is None


async def test_an_entry_is_served_until_it_expires_and_not_after(
    store: Store, make_entry: MakeEntry, clock: FakeClock
) -> None:
    entry = make_entry(1, expires=clock() + 60)
    await store.put(entry)
    clock.advance(59.999)
    assert await store.get(entry.key) == entry
    clock.advance(0.001)
    assert await store.get(entry.key) is None


async def test_reading_an_entry_does_not_prolong_its_life(
    store: Store, make_entry: MakeEntry, clock: FakeClock
) -> None:
    entry = make_entry(1, expires=clock() + 60)
    await store.put(entry)
    for _ in range(3):
        clock.advance(15)
        assert await store.get(entry.key) == entry
    clock.advance(15)
    assert await store.get(entry.key) is None


async def test_an_entry_is_kept_beyond_its_time_to_live_for_as_long_as_the_store_is_told(
    store: Store, make_entry: MakeEntry, clock: FakeClock
) -> None:
    store.stale_seconds = 100
    entry, late = make_entry(1, expires=clock() + 60), make_entry(2, expires=clock() - 99)
    assert await store.put(entry)
    assert await store.put(late)
    clock.advance(159)
    assert await store.put(make_entry(3, expires=clock() + 60))  # a write may remove what has expired
    assert await store.get(entry.key) == entry
    assert await store.get(late.key) is None
    clock.advance(1)
    assert await store.get(entry.key) is None


async def test_what_was_written_to_be_kept_longer_is_not_served_when_the_setting_is_gone(
    store: Store, make_entry: MakeEntry, clock: FakeClock
) -> None:
    store.stale_seconds = 100
    entry = make_entry(1, expires=clock() + 60)
    assert await store.put(entry)
    clock.advance(60)
    store.stale_seconds = 0
    assert await store.get(entry.key) is None


async def test_an_entry_that_has_expired_is_not_kept(store: Store, make_entry: MakeEntry, clock: FakeClock) -> None:
    entry = make_entry(1, expires=clock())
    assert not await store.put(entry)
    assert await store.get(entry.key) is None


async def test_a_put_replaces_the_entry_of_its_key(store: Store, make_entry: MakeEntry) -> None:
    await store.put(make_entry(1, body=b"old", media_type="audio/mpeg"))
    new = make_entry(1, body=b"new and longer")
    await store.put(new)
    assert await store.get(new.key) == new
    assert (await store.stats()).entries == 1


async def test_a_deleted_entry_is_a_miss(store: Store, make_entry: MakeEntry) -> None:
    entry = make_entry(1)
    await store.put(entry)
    assert await store.delete(entry.key)
    assert not await store.delete(entry.key)
    assert await store.get(entry.key) is None


async def test_clear_removes_every_entry_and_spares_counters_and_tables(store: Store, make_entry: MakeEntry) -> None:
    entries = [make_entry(number) for number in range(5)]
    for entry in entries:
        await store.put(entry)
    await store.count({"hits": 2})
    await store.write_field("purges", "voice=alice", b"record")
    assert await store.clear() == 5
    assert [await store.get(entry.key) for entry in entries] == [None] * 5
    assert await store.totals() == {"hits": 2}
    assert await store.read_table("purges") == {"voice=alice": b"record"}
    assert await store.clear() == 0


async def test_stats_of_a_store_tell_entries_and_bytes(store: Store, make_entry: MakeEntry) -> None:
    before = await store.stats()
    for number in range(3):
        await store.put(make_entry(number, body=bytes(10_000)))
    after = await store.stats()
    assert (before.entries, after.entries) == (0, 3)
    assert before.used_bytes is not None
    assert after.used_bytes is not None
    bodies_within = not isinstance(store, SealedStore) or store.bodies is None
    assert after.used_bytes >= before.used_bytes + (25_000 if bodies_within else 500)


async def test_concurrent_increments_are_all_counted(store: Store) -> None:
    await asyncio.gather(*(store.count({"hits": 1, "saved seconds": 0.25}) for _ in range(40)))
    assert await store.totals() == {"hits": 40, "saved seconds": 10}


async def test_a_store_allows_counting_nothing(store: Store) -> None:
    await store.count({})
    assert await store.totals() == {}


async def test_of_many_concurrent_swaps_of_one_value_one_succeeds_at_a_time(store: Store) -> None:
    """Compare and set: what a writer has not seen is never overwritten."""
    assert not await store.swap_field("purges", "模型=甲", b"not there", b"new")
    assert sum(await asyncio.gather(*(store.swap_field("purges", "模型=甲", None, b"%d" % n) for n in range(20)))) == 1
    first = await store.read_field("purges", "模型=甲")
    assert not await store.swap_field("purges", "模型=甲", None, b"new")
    assert (
        sum(await asyncio.gather(*(store.swap_field("purges", "模型=甲", first, b"new %d" % n) for n in range(20))))
        == 1
    )
    assert await store.swap_field("purges", "模型=甲", await store.read_field("purges", "模型=甲"), b"\0\xff\n")
    assert await store.read_table("purges") == {"模型=甲": b"\0\xff\n"}


async def test_the_address_of_every_body_outside_is_read_from_the_store(kept: Kept, make_entry: MakeEntry) -> None:
    """The sweep removes the bodies at all other addresses."""
    assert isinstance(kept.store, SealedStore)
    for number in range(3):
        await kept.store.put(make_entry(number, body=b"body %d" % number))
    addresses = [address async for address in kept.store.addresses()]
    pages = [] if kept.store.bodies is None else [page async for page in kept.store.bodies.list()]
    assert sorted(addresses) == sorted(body.address for page in pages for body in page)
    assert len(addresses) == (0 if kept.store.bodies is None else 3)


async def test_closing_a_store_twice_is_harmless(store: Store) -> None:
    await store.close()
    await store.close()


# -- what is not the key's value -----------------------------------------------------------------------------------


async def test_a_planted_envelope_of_the_key_is_served(kept: Kept, make_entry: MakeEntry, sealer: Sealer) -> None:
    entry = make_entry(1)
    kept.plant(entry.key, sealer.seal(entry))
    assert await kept.store.get(entry.key) == entry


async def test_a_value_of_another_key_is_refused(kept: Kept, make_entry: MakeEntry, sealer: Sealer) -> None:
    kept.plant(make_entry(2).key, sealer.seal(make_entry(1)))
    assert await refusal(kept, make_entry(2).key) is Refusal.SEAL


async def test_a_value_sealed_with_another_secret_is_refused(kept: Kept, make_entry: MakeEntry) -> None:
    entry = make_entry(1)
    kept.plant(entry.key, Sealer(Secret(b"another")).seal(entry))
    assert await refusal(kept, entry.key) is Refusal.SEAL


async def test_a_truncated_value_is_refused(kept: Kept, make_entry: MakeEntry, sealer: Sealer) -> None:
    entry = make_entry(1)
    sealed = sealer.seal(entry)
    for length in (0, 1, 7, 35, 36, len(sealed) // 2, len(sealed) - 1):
        kept.plant(entry.key, sealed[:length])
        assert await refusal(kept, entry.key) is (Refusal.TRUNCATED if length < 36 else Refusal.SEAL)


@pytest.mark.parametrize(
    ("place", "reason"),
    [(0, Refusal.FOREIGN), (3, Refusal.VERSION), (7, Refusal.SEAL), (60, Refusal.SEAL), (-1, Refusal.SEAL)],
)
async def test_a_tampered_value_is_refused(
    kept: Kept, make_entry: MakeEntry, sealer: Sealer, place: int, reason: Refusal
) -> None:
    entry = make_entry(1)
    sealed = bytearray(sealer.seal(entry))
    sealed[place] ^= 1
    kept.plant(entry.key, bytes(sealed))
    assert await refusal(kept, entry.key) is reason


class Exploding:
    """An object whose unpickling is seen."""

    unpickled = False

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ()


def explode() -> None:
    Exploding.unpickled = True


async def test_a_pickle_is_refused_and_never_unpickled(kept: Kept, make_entry: MakeEntry) -> None:
    key = make_entry(1).key
    kept.plant(key, pickle.dumps((Exploding(), bytes(100))))
    assert await refusal(kept, key) is Refusal.FOREIGN
    assert not Exploding.unpickled


async def test_a_refused_value_can_be_replaced(kept: Kept, make_entry: MakeEntry) -> None:
    entry = make_entry(1)
    kept.plant(entry.key, b"something else that is long enough to be one")
    assert await kept.store.put(entry)
    assert await kept.store.get(entry.key) == entry


async def refusal(kept: Kept, key: bytes) -> Refusal:
    with pytest.raises(Refused) as refused:
        await kept.store.get(key)
    return refused.value.reason


# -- the bound in bytes, of the stores that evict themselves ----------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
async def bounded(
    request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock
) -> AsyncIterator[Store]:
    """A store with room for just over ten bodies of 10 kB."""
    store: Store = (
        MemoryStore(110_000, clock=clock)
        if request.param == "memory"
        else SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock, max_bytes=110_000)
    )
    await store.open()
    yield store
    await store.close()


async def test_the_stores_bound_in_bytes_holds_whatever_is_written(bounded: Store, make_entry: MakeEntry) -> None:
    for number in range(60):
        await bounded.put(make_entry(number % 40, body=bytes(number * 977 % 30_000)))
        stats = await bounded.stats()
        assert stats.used_bytes is not None
        assert stats.used_bytes <= 110_000
    assert (await bounded.stats()).max_bytes == 110_000


async def test_a_value_larger_than_the_bound_is_not_kept_and_displaces_nothing_else(
    bounded: Store, make_entry: MakeEntry
) -> None:
    small, large = make_entry(1), make_entry(2, body=bytes(120_000))
    await bounded.put(small)
    await bounded.put(make_entry(2, body=b"older"))
    assert not await bounded.put(large)
    assert await bounded.get(large.key) is None
    assert await bounded.get(small.key) == small


async def test_the_least_recently_used_entry_goes_first_and_reading_is_using(
    bounded: Store, make_entry: MakeEntry, clock: FakeClock
) -> None:
    for number in range(10):
        clock.advance(1)
        await bounded.put(make_entry(number, body=bytes(10_000)))
    for number in (3, 0):
        clock.advance(1)
        assert await bounded.get(make_entry(number).key) is not None
    for number in (10, 11, 12):
        clock.advance(1)
        await bounded.put(make_entry(number, body=bytes(10_000)))
    there = [number for number in range(13) if await bounded.get(make_entry(number).key) is not None]
    assert there == [0, 3, 5, 6, 7, 8, 9, 10, 11, 12]


async def test_a_table_keeps_its_values_through_clear(store):
    await store.write_field("voices", "alice", b"one")
    await store.write_field("voices", "alice", b"two")
    await store.write_field("voices", "bob", b"three")
    await store.write_field("clips", "alice", b"four")
    await store.clear()
    assert await store.read_table("voices") == {"alice": b"two", "bob": b"three"}
    assert (await store.read_field("clips", "alice"), await store.read_field("clips", "bob")) == (b"four", None)
    assert [await store.remove_field("voices", "alice") for _ in range(2)] == [True, False]
    assert await store.read_table("voices") == {"bob": b"three"}


# -- leases and records, of the stores that several processes share ----------------------------------------------------

KEY = bytes(range(32))


@pytest.fixture(params=["memory", "sqlite", "valkey", "redis"])
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock
) -> AsyncIterator[tuple[Leases, Records]]:
    """The leases and records of a store; those in memory are what other tests share a store by."""
    store = make_kept(request.param, request, tmp_path, sealer, clock).store
    if request.param == "memory":
        share(store, clock)
    assert store.leases is not None
    assert store.records is not None
    await store.open()
    yield store.leases, store.records
    await store.close()


async def test_one_of_many_holds_a_lease_until_it_releases_it(shared: tuple[Leases, Records]) -> None:
    leases, _ = shared
    owners = [f"owner {number}" for number in range(10)]
    holders = set(await asyncio.gather(*(leases.acquire(KEY, owner, 60) for owner in owners)))
    assert len(holders) == 1
    (holder,) = holders
    assert [await leases.renew(KEY, owner, 60) for owner in owners] == [owner == holder for owner in owners]
    for owner in set(owners) - holders:
        await leases.release(KEY, owner)
    assert await leases.acquire(KEY, "another", 60) == holder
    assert await leases.acquire(bytes(32), "another", 60) == "another"
    await leases.release(KEY, holder)
    assert await leases.acquire(KEY, "another", 60) == "another"


async def test_a_lease_that_is_not_renewed_ends(shared: tuple[Leases, Records], clock: FakeClock) -> None:
    leases, _ = shared
    assert await leases.acquire(KEY, "dead", 0.1) == "dead"
    clock.advance(0.1)
    async with asyncio.timeout(10):  # a server has a clock of its own
        while await leases.acquire(KEY, "successor", 0.1) != "successor":
            await asyncio.sleep(0.01)
    assert not await leases.renew(KEY, "dead", 60)


@pytest.fixture(params=["sqlite", "sqlite+files", "valkey", "redis"])
async def leased(
    request: pytest.FixtureRequest, tmp_path: Path, sealer: Sealer, clock: FakeClock
) -> AsyncIterator[Kept]:
    """A store with leases, and bodies within or outside."""
    kept = make_kept(request.param, request, tmp_path, sealer, clock)
    await kept.store.open()
    yield kept
    await kept.store.close()


async def claim(store: Store, key: bytes, owner: str = "owner") -> Claimed:
    assert store.leases is not None
    return await store.leases.claim(key, owner, 60)


async def test_a_lease_comes_with_the_entry_that_another_process_has_stored_meanwhile(
    leased: Kept, make_entry: MakeEntry
) -> None:
    entry = make_entry(1)
    assert await leased.store.put(entry)
    outside = isinstance(leased.store, SealedStore) and leased.store.bodies is not None
    # A body outside is read by whoever looks again, within its own budget.
    assert await claim(leased.store, entry.key) == (Claimed("owner") if outside else Claimed("owner", True, entry))


async def test_a_lease_tells_that_nothing_is_stored(leased: Kept, make_entry: MakeEntry, clock: FakeClock) -> None:
    assert await claim(leased.store, KEY) == Claimed("owner", looked=True)
    if leased.store.name == "sqlite":  # a server has a clock of its own
        expired = make_entry(2, expires=clock() + 1)
        assert await leased.store.put(expired)
        clock.advance(2)
        assert (await claim(leased.store, expired.key)).entry is None


async def test_who_does_not_get_the_lease_learns_its_holder_alone(leased: Kept, make_entry: MakeEntry) -> None:
    entry = make_entry(1)
    assert await leased.store.put(entry)
    await claim(leased.store, entry.key, "holder")
    assert await claim(leased.store, entry.key, "another") == Claimed("holder")
    assert leased.store.leases is not None
    await leased.store.leases.release(entry.key, "holder")
    assert (await claim(leased.store, entry.key, "another")).holder == "another"


async def test_a_value_that_is_not_the_keys_costs_nobody_the_lease(leased: Kept) -> None:
    """It is met, and told of, by whoever looks under the lease."""
    leased.plant(KEY, b"another program's value under a name of ours")
    assert await claim(leased.store, KEY) == Claimed("owner")
    assert await refusal(leased, KEY) is Refusal.FOREIGN


async def test_records_come_in_order_to_each_reader_by_part_and_holder(shared: tuple[Leases, Records]) -> None:
    leases, records = shared
    await leases.acquire(KEY, "owner", 60)
    await records.publish(KEY, "owner", COMPUTATION, [b"one", b"two"])
    await records.publish(KEY, "owner", "followers", [b"a challenge"])
    first, challenges, other = await records.read(
        [Question(KEY, "owner", COMPUTATION), Question(KEY, "owner", "followers"), Question(KEY, "other", COMPUTATION)]
    )
    assert (first.held, first.records) == (True, [b"one", b"two"])
    assert (challenges.held, challenges.records) == (True, [b"a challenge"])
    assert (other.held, other.records) == (False, [])
    await records.publish(KEY, "owner", COMPUTATION, [b"three"])
    await leases.release(KEY, "owner")
    (rest,) = await records.read([Question(KEY, "owner", COMPUTATION, first.position)])
    assert (rest.held, rest.records) == (False, [b"three"])
