"""What limited space is spent on: both policies, in memory and in a SQLite file."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.config import load_settings
from sayonce.core.doorkeeper import Doorkeeper
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.eviction import GDSF, LRU, MAX_USES, EvictionPolicy, new_policy, worth
from sayonce.errors import ConfigError
from sayonce.service import build_cache
from sayonce.stores.memory import MemoryStore
from sayonce.stores.sqlite.eviction import Eviction
from sayonce.stores.sqlite.schema import SCHEMA
from sayonce.stores.sqlite.space import Space
from sayonce.stores.sqlite.store import SQLiteStore
from sayonce.testing import FakeClock

MakeEntry = Callable[..., Entry]

MAX_BYTES = 1000
KEYS = st.integers(0, 12).map(lambda number: number.to_bytes(32))
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("discard"), KEYS),
        st.tuples(st.just("put"), KEYS, st.integers(0, 1100), st.floats(0, 100)),
        st.just(("clear",)),
    ),
    max_size=120,
)


@pytest.fixture(params=["gdsf", "lru"])
def policy(request: pytest.FixtureRequest) -> EvictionPolicy[object]:
    return new_policy(request.param, MAX_BYTES)


class Scan:
    """GDSF as its definition says it: every priority is kept up to date, and the lowest is found by looking at all."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.age, self.sequence = max_bytes, 0.0, 0
        self.rows: dict[bytes, list[float]] = {}  # size, worth, uses, priority, sequence
        self.seen: set[bytes] = set()

    def get(self, key: bytes) -> None:
        if key in self.rows:
            row = self.rows[key]
            row[2] += 1
            before, row[3] = row[3], self.age + min(row[2], MAX_USES) * row[1]
            if row[3] != before:
                self.sequence = row[4] = self.sequence + 1

    def put(self, key: bytes, size: int, cost: float) -> None:
        older, seen = self.rows.pop(key, None), key in self.seen
        self.seen.add(key)
        uses = older[2] + 1 if older else int(seen)
        if size > self.max_bytes:
            return
        priority = self.age + min(uses, MAX_USES) * worth(size, cost)
        excess, victims = sum(row[0] for row in self.rows.values()) + size - self.max_bytes, []
        for victim in sorted(self.rows, key=lambda key: self.rows[key][3:]):
            if excess <= 0:
                break
            victims.append(victim)
            excess -= self.rows[victim][0]
        levels = [self.rows[victim][3] for victim in victims]
        if any(level > priority for level in levels):
            self.age = min(priority, levels[0])
            return
        for victim in victims:
            self.age = self.rows.pop(victim)[3]
        self.sequence += 1
        self.rows[key] = [size, worth(size, cost), uses, priority, self.sequence]


# -- accounting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gdsf", "lru"])
@given(operations=OPERATIONS)
def test_the_bound_of_an_eviction_policy_holds_and_its_accounting_is_exact_whatever_happens(name, operations):
    policy = new_policy(name, MAX_BYTES)
    latest: dict[bytes, int] = {}
    for operation, *arguments in operations:
        before = set(policy)
        match operation, arguments:
            case "get", [key]:
                assert policy.get(key) == (latest[key] if key in before else None)
            case "discard", [key]:
                assert policy.discard(key) is (key in before)
            case "put", [key, size, cost]:
                evicted = policy.evicted
                latest[key] = size
                assert policy.put(key, size, size, cost) is (key in set(policy))
                assert policy.evicted - evicted == len(before - {key} - set(policy))
            case _:
                policy.clear()
        assert len(policy) == len(set(policy)) == len(list(policy))
        assert policy.used_bytes == sum(latest[key] for key in policy) <= MAX_BYTES


@given(operations=OPERATIONS)
def test_gdsf_evicts_what_a_look_at_every_priority_would(operations):
    policy, scan = GDSF[int](MAX_BYTES), Scan(MAX_BYTES)
    for number, (operation, *arguments) in enumerate(operations):
        match operation, arguments:
            case "get", [key]:
                policy.get(key)
                scan.get(key)
            case "discard", [key]:
                policy.discard(key)
                scan.rows.pop(key, None)
            case "put", [key, size, cost]:
                # So that equal priorities, whose order is free, do not arise: also not those of one ratio to the sizes.
                distinct = cost + (number + 1) * math.pi / 1000
                policy.put(key, number, size + 1, distinct)
                scan.put(key, size + 1, distinct)
        assert set(policy) == set(scan.rows)


def test_a_value_larger_than_the_space_is_not_kept_and_displaces_only_its_older_one(policy):
    policy.put(b"small", 1, 400)
    policy.put(b"large", 2, 400)
    assert not policy.put(b"large", 3, MAX_BYTES + 1)
    assert set(policy) == {b"small"}


def test_a_policy_with_no_space_keeps_nothing():
    for name in ("gdsf", "lru"):
        policy = new_policy(name, 0)
        assert not policy.put(b"key", 1, 1)
        assert policy.used_bytes == 0


def test_an_unknown_eviction_policy_is_refused():
    for variable in ("SAYONCE_MEMORY__POLICY", "SAYONCE_STORE__POLICY"):
        with pytest.raises(ConfigError, match=variable):
            load_settings(environment={variable: "fifo"})


# -- what GDSF keeps ---------------------------------------------------------------------------------------------------


def filled(max_bytes: int = MAX_BYTES, **values: tuple[int, float, int]) -> GDSF[str]:
    """Return a mapping with values of (size, cost, uses)."""
    policy = GDSF[str](max_bytes)
    for name, (size, cost, uses) in values.items():
        assert policy.put(name.encode(), name, size, cost)
        for _ in range(uses):
            policy.get(name.encode())
    return policy


def again(policy: EvictionPolicy[str], key: bytes, size: int, cost: float) -> bool:
    """Put a value that was seen before."""
    policy.put(key, "", size, cost)
    return policy.put(key, "", size, cost)


@pytest.mark.parametrize(
    ("stays", "goes"),
    [((500, 9.0, 1), (500, 3.0, 1)), ((500, 3.0, 3), (500, 3.0, 1)), ((200, 3.0, 1), (800, 3.0, 1))],
    ids=["what costs more", "what is used more", "what is smaller"],
)
@pytest.mark.parametrize("first", ["stays", "goes"])
def test_of_two_values_the_one_that_saves_more_compute_stays(stays, goes, first):
    values = {"stays": stays, "goes": goes}
    policy = filled(**{first: values.pop(first)}, **values)
    assert again(policy, b"new", 200, 5.0)
    assert set(policy) == {b"stays", b"new"}


def test_values_that_cost_nothing_are_kept_by_their_uses():
    policy = filled(used=(500, 0.0, 2), unused=(500, 0.0, 0))
    assert policy.put(b"new", "new", 500, 0.0)
    assert set(policy) == {b"used", b"new"}


def test_a_value_seen_for_the_first_time_displaces_nothing_that_was_used():
    policy = filled(used=(900, 0.1, 1), unused=(100, 0.1, 0))
    assert policy.put(b"first", "", 100, 1000.0)
    assert not policy.put(b"second", "", 200, 1000.0)
    assert set(policy) == {b"used", b"first"}
    assert policy.put(b"second", "", 200, 1000.0)


def test_nothing_is_evicted_for_a_value_that_then_does_not_get_in():
    policy = filled(cheap=(100, 0.1, 1), dear=(900, 1000.0, 1))
    assert not again(policy, b"new", 500, 1.0)
    assert set(policy) == {b"cheap", b"dear"}
    assert policy.evicted == 0


def test_a_scan_of_one_off_texts_does_not_flush_the_phrases_in_use():
    chance = random.Random(1)
    phrases = [number.to_bytes(4) for number in range(80)]
    kept: dict[str, float] = {}
    for name in ("gdsf", "lru"):
        policy = new_policy(name, 100_000)
        for phrase in phrases * 3:
            if policy.get(phrase) is None:
                policy.put(phrase, phrase, 1000, 0.3)
        for number in range(20_000):
            policy.put(b"once" + number.to_bytes(4), b"", chance.randrange(500, 20_000), chance.uniform(0.1, 30))
        kept[name] = sum(phrase in set(policy) for phrase in phrases) / len(phrases)
    assert kept == {"gdsf": 1.0, "lru": 0.0}


def test_old_favourites_go_when_nobody_asks_for_them_any_more():
    old = [b"old" + bytes([number]) for number in range(10)]
    policy = GDSF[bytes](10_000)
    for phrase in old:
        policy.put(phrase, phrase, 1000, 1.0)
        for _ in range(100_000):
            policy.get(phrase)
    requests = 0
    while any(phrase in set(policy) for phrase in old):
        for new in (b"new" + bytes([number]) for number in range(10)):
            requests += 1
            if policy.get(new) is None:
                policy.put(new, new, 1000, 1.0)
    assert requests <= 400  # each of ten new phrases asked for some dozens of times


def test_a_replaced_value_keeps_the_uses_of_its_older_one():
    policy = filled(replaced=(500, 1.0, 5), other=(500, 1.0, 4))
    policy.put(b"replaced", "", 500, 1.0)
    assert again(policy, b"new", 500, 10.0)
    assert set(policy) == {b"replaced", b"new"}


@settings(max_examples=20)
@given(operations=OPERATIONS)
def test_the_same_requests_leave_the_same_values_under_an_eviction_policy(operations):
    first, second = (GDSF[int](MAX_BYTES) for _ in range(2))
    for policy in (first, second):
        for operation, *arguments in operations:
            if operation == "put":
                policy.put(arguments[0], 1, *arguments[1:])
            elif operation == "get":
                policy.get(arguments[0])
    assert list(first) == list(second)


def test_discarded_values_take_no_memory_of_the_policy_for_long():
    policy = GDSF[int](MAX_BYTES)
    for number in range(10_000):
        policy.put(number.to_bytes(4), number, 1)
        policy.discard(number.to_bytes(4))
    for _ in range(10_000):
        policy.put(b"same", 1, 1)
    assert len(policy._heap) <= 100


# -- the doorkeeper ----------------------------------------------------------------------------------------------------


def test_the_doorkeeper_knows_the_latest_keys_and_forgets_those_of_long_ago():
    doorkeeper = Doorkeeper(keys=1000)
    keys = [number.to_bytes(32) for number in range(10_000)]
    for key in keys:
        doorkeeper.seen(key)
    assert all(doorkeeper.seen(key) for key in keys[-1000:])
    assert sum(doorkeeper.seen(key) for key in keys[:5000]) < 100


def test_the_doorkeeper_takes_hardly_any_new_key_for_a_known_one():
    doorkeeper = Doorkeeper(keys=1000)
    assert sum(doorkeeper.seen(number.to_bytes(32)) for number in range(20_000)) < 200


# -- the same order in SQLite ------------------------------------------------------------------------------------------


def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    return db


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["gdsf", "lru"])
def test_sqlite_keeps_what_memory_keeps(tmp_path: Path, name, seed):
    chance = random.Random(seed)
    policy, rows, db = new_policy(name, 20_000), Eviction(name, Space(tmp_path / "clips.db", 20_000)), database()
    for now in range(2000):
        key = int(chance.paretovariate(0.5)).to_bytes(64)
        if policy.get(key) is not None:
            rows.note(db, [(key, 1, now)])
        else:
            size, cost = chance.randrange(100, 5000), chance.random()
            kept = rows.add(db, key, size, cost_seconds=cost, expires=1e12, now=now) is not None
            assert policy.put(key, now, size, cost) is kept
        assert {key for (key,) in db.execute("SELECT key FROM entries")} == set(policy)
    assert db.execute("SELECT bytes FROM usage").fetchone() == (policy.used_bytes,)
    assert policy.evicted > 50


@pytest.mark.parametrize("name", ["gdsf", "lru"])
def test_sqlite_finds_what_goes_first_in_an_index_without_sorting(name):
    plan = database().execute(f"EXPLAIN QUERY PLAN {Eviction(name, 1)._lowest}").fetchall()
    assert [row[3].split(" USING ")[0] for row in plan] == ["SCAN entries"]
    assert "USING INDEX entries_by_" in plan[0][3]


def with_cost(make_entry: MakeEntry, number: int, seconds: float) -> Entry:
    return make_entry(number, body=bytes(10_000), compute_seconds=seconds)


async def there(store: SQLiteStore | MemoryStore, *numbers: int) -> list[int]:
    return [number for number in numbers if await store.get(number.to_bytes(32)) is not None]


@pytest.mark.parametrize(("name", "stay"), [("gdsf", [1, 3]), ("lru", [2, 3])])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_store_follows_its_eviction_policy(
    name, stay, kind, tmp_path, sealer: Sealer, clock: FakeClock, make_entry
):
    store: SQLiteStore | MemoryStore = (
        MemoryStore(25_000, name, clock=clock)
        if kind == "memory"
        else SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock, max_bytes=25_000, policy=name)
    )
    await store.open()
    for number, seconds in ((1, 60.0), (2, 1.0), (3, 30.0), (3, 30.0)):
        clock.advance(1)
        await store.put(with_cost(make_entry, number, seconds))
        if number != 3:
            await store.get(number.to_bytes(32))
    assert await there(store, 1, 2, 3) == stay
    await store.close()


async def test_uses_by_one_process_count_when_another_makes_room(tmp_path, sealer, clock, make_entry):
    one, other = (SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock, max_bytes=25_000) for _ in range(2))
    await one.open()
    await other.open()
    await one.put(with_cost(make_entry, 1, 1.0))
    await one.put(with_cost(make_entry, 2, 1.0))
    await other.get((1).to_bytes(32))
    await other.close()  # its notes land
    await one.put(with_cost(make_entry, 3, 1.0))
    assert await there(one, 1, 2, 3) == [1, 3]
    await one.close()


async def test_a_sqlite_file_may_be_opened_with_another_eviction_policy(tmp_path: Path, sealer, clock, make_entry):
    for turn, (name, seconds) in enumerate([("lru", 50.0), ("gdsf", 1.0), ("lru", 1.0), ("gdsf", 1.0)]):
        store = SQLiteStore(tmp_path / "clips.db", sealer=sealer, clock=clock, max_bytes=55_000, policy=name)
        await store.open()
        for number in range(20):
            clock.advance(1)
            for _ in range(2):
                await store.put(with_cost(make_entry, 100 * turn + number, seconds))
        stats = await store.stats()
        assert (stats.entries, stats.used_bytes <= 55_000) == (5, True)
        await store.close()


@pytest.mark.parametrize(("name", "kind"), [("gdsf", GDSF), ("lru", LRU)])
async def test_the_settings_choose_the_eviction_policy_of_each_tier(name, kind, tmp_path):
    url = f"sqlite:///{tmp_path / 'clips.db'}"
    overrides = {"store.url": url, "store.policy": name, "memory.policy": name}
    cache = build_cache(load_settings(environment={}, overrides=overrides))
    assert type(cache.memory._entries) is kind
    assert isinstance(cache.store, SQLiteStore)
    assert cache.store._eviction._refuses is (name == "gdsf")
