"""An attacker that writes to the store without the secret, while instances share a computation: no forged byte is heard.

The attacker writes past Sayonce, into a real Redis (Valkey) and into the SQLite file. He knows the program, and may have
recorded whatever instances wrote before; the seals that he makes himself are made with another secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.cache import Cache, Flight, Lookup, cross_process, lease
from sayonce.cache.cross_process import SharedFlights, Turn
from sayonce.cache.lease import CHUNK, END, HEAD
from sayonce.core.audio_start import AudioStart
from sayonce.core.envelope import Entry, Sealer
from sayonce.core.key import Digest, Secret
from sayonce.core.outcome import Outcome
from sayonce.core.relay import Ending, FlightSeal, Head, is_genuine, new_owner
from sayonce.errors import EngineError
from sayonce.stores import open_store
from sayonce.stores.records import COMPUTATION, RECORD_BYTES, Question, Sighting
from sayonce.testing import StubEngine
from tests.helpers.attacker import Attacker, RedisAttacker, SQLiteAttacker
from tests.helpers.chunked_work import Work, listen
from tests.helpers.paths import ROOT
from tests.helpers.serving import serving, speak

SECRET = Secret(b"known to the instances alone")
OTHER = Secret(b"the attacker's")
QUIET_SECONDS = 1.0
HONEST = b"onetwothreefour"
KEY = Digest(bytes(range(32)))


class Place:
    """Instances over one store, and somebody who writes into it."""

    def __init__(self, url: str, attacker: Attacker, stack: contextlib.AsyncExitStack) -> None:
        self.attacker = attacker
        self.stack = stack
        self._url = url

    async def instance(self) -> Cache:
        store = open_store(self._url, sealer=Sealer(SECRET), budget_seconds=0.5)
        return await self.stack.enter_async_context(Cache(store, secret=SECRET, budget_seconds=0.5))


@pytest.fixture(params=["sqlite", "valkey"])
async def place(request: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(cross_process, "QUIET_SECONDS", QUIET_SECONDS)
    monkeypatch.setattr(lease, "_SIGN_SECONDS", 0.1)
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield Place(f"sqlite:///{tmp_path}/clips.db", SQLiteAttacker(tmp_path / "clips.db"), stack)
        else:
            server = request.getfixturevalue("valkey")
            client = stack.enter_context(server.client())
            yield Place(server.url, RedisAttacker(client), stack)


def forged_records(key: bytes, owner: str, secret: Secret = OTHER, evil: bytes = b"evil words") -> list[bytes]:
    """Return a whole flight of another sound, as well as it can be made with another secret."""
    seal = FlightSeal(secret, key, owner)
    entry = Entry(key=key, body=evil, media_type="", created=1.0, expires=2.0)
    head = HEAD + msgspec.msgpack.encode(Head(1.0, (), "audio/pcm"))
    contents = [head, CHUNK + evil, END + msgspec.msgpack.encode(Ending.of(len(evil), entry))]
    return [seal.seal(COMPUTATION, place, content) for place, content in enumerate(contents)]


async def hears_the_honest_sound(place: Place, key: bytes, within_seconds: float) -> Cache:
    """Ask at a new instance, and return it; what is stored then is the honest sound too."""
    victim, started = await place.instance(), time.monotonic()
    assert await listen(await victim.answer(Lookup(key, Work()))) == HONEST
    assert time.monotonic() - started < within_seconds
    await victim.settle()
    assert await listen(await (await place.instance()).answer(Lookup(key, Work(b"wrong")))) == HONEST
    return victim


# -- planted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "owner",
    [
        new_owner(OTHER, KEY),
        "0123456789abcdef",
        "a" * 64,
        b"\xff\xfe no text \0",
        b"x" * 5_000_000,
        "",
    ],
    ids=["another secret's", "short", "no seal", "no text", "5 MB", "empty"],
)
async def test_a_planted_lease_is_broken_at_once_and_its_records_are_not_heard(
    place: Place, owner: str | bytes
) -> None:
    await place.instance()  # which makes the file
    place.attacker.plant_lease(KEY, owner)
    if isinstance(owner, str):
        place.attacker.plant_records(KEY, COMPUTATION, owner, forged_records(KEY, owner))
    victim = await hears_the_honest_sound(place, KEY, QUIET_SECONDS)
    assert victim.counters["flights: led"] == 1
    assert place.attacker.lease(KEY) is None


@pytest.mark.parametrize("planted", ["list", "stream"])
async def test_something_else_in_the_place_of_a_lease_blocks_nobody(valkey: Any, planted: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        client = stack.enter_context(valkey.client())
        name = f"sayonce:2:{{{KEY.hex()}}}:lease"
        client.rpush(name, "x") if planted == "list" else client.xadd(name, {"r": "x"})
        place = Place(valkey.url, RedisAttacker(client), stack)
        victim = await hears_the_honest_sound(place, KEY, QUIET_SECONDS)
        assert not any(name.startswith("store errors") for name in victim.counters)


async def test_something_else_in_the_place_of_records_is_removed(valkey: Any) -> None:
    store = open_store(valkey.url, sealer=Sealer(SECRET))
    assert store is not None
    records = store.records
    assert records is not None
    with valkey.client() as client:
        client.set(f"sayonce:2:{{{KEY.hex()}}}:{COMPUTATION}:owner", "no stream")
        question = Question(KEY, "owner", COMPUTATION)
        assert (await records.read([question]))[0].records == []
        await records.publish(KEY, "owner", COMPUTATION, [b"one", b"two"])
    assert (await records.read([question]))[0].records == [b"one", b"two"]
    await store.close()


async def test_records_of_a_flight_that_are_read_at_once_are_bounded_in_number_and_bytes(place: Place) -> None:
    records = (await place.instance()).store.records
    question = Question(KEY, "owner", COMPUTATION)
    place.attacker.plant_records(
        KEY, COMPUTATION, "owner", [b"small", bytes(RECORD_BYTES + 1), *[bytes(RECORD_BYTES)] * 20]
    )
    first = (await records.read([question]))[0]
    assert first.records == [b"small", b"", *[bytes(RECORD_BYTES)] * 15]
    following = Question(KEY, "owner", COMPUTATION, first.position)
    assert len((await records.read([following]))[0].records) == 5


async def test_a_genuine_lease_of_another_key_is_no_lease_of_this_one(place: Place) -> None:
    await place.instance()
    owner = new_owner(SECRET, bytes(32))
    place.attacker.plant_lease(KEY, owner)
    place.attacker.plant_records(KEY, COMPUTATION, owner, forged_records(KEY, owner))
    await hears_the_honest_sound(place, KEY, QUIET_SECONDS)


async def test_a_lease_that_never_ends_blocks_nobody_beyond_its_own_time(place: Place) -> None:
    """Also one that an instance made: its process is gone, and the store keeps it without a time to live."""
    await place.instance()
    place.attacker.plant_lease(KEY, new_owner(SECRET, KEY))
    victim = await hears_the_honest_sound(place, KEY, QUIET_SECONDS + 1)
    assert victim.counters["flights: silent"] == 1
    assert place.attacker.lease(KEY) is None


@pytest.mark.parametrize("seconds", [None, 10**9])
async def test_a_lease_that_lasts_too_long_is_bounded_by_the_stores_time_when_it_is_met(
    valkey: Any, seconds: int | None
) -> None:
    store = open_store(valkey.url, sealer=Sealer(SECRET))
    assert store is not None
    with valkey.client() as client:
        client.set(f"sayonce:2:{{{KEY.hex()}}}:lease", "somebody", ex=seconds)
        assert store.leases is not None
        assert await store.leases.acquire(KEY, "another", 7.0) == "somebody"
        assert 0 < client.pttl(f"sayonce:2:{{{KEY.hex()}}}:lease") <= 7000
    await store.close()


async def test_leases_that_are_planted_again_and_again_end_with_a_computation_without_one(place: Place) -> None:
    await place.instance()

    async def plant() -> None:
        while True:
            place.attacker.plant_lease(KEY, new_owner(OTHER, KEY))
            await asyncio.sleep(0)

    planting = asyncio.create_task(plant())
    victim = await place.instance()
    assert await listen(await victim.answer(Lookup(KEY, Work()))) == HONEST
    planting.cancel()


# -- a tap on a flight under way ----------------------------------------------------------------------------------------

Tampering = Callable[[Attacker, str], None]


def rewritten(change: Callable[[list[bytes]], list[bytes]]) -> Tampering:
    def tamper(attacker: Attacker, owner: str) -> None:
        records = change(attacker.records(KEY, COMPUTATION, owner))
        attacker.remove_records(KEY, COMPUTATION, owner)
        attacker.plant_records(KEY, COMPUTATION, owner, records)

    return tamper


def added(records: Callable[[list[bytes], str], list[bytes]]) -> Tampering:
    def tamper(attacker: Attacker, owner: str) -> None:
        there = attacker.records(KEY, COMPUTATION, owner)
        attacker.plant_records(KEY, COMPUTATION, owner, records(there, owner))

    return tamper


def flipped(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


TAMPERINGS: dict[str, Tampering] = {
    "a forged flight": added(lambda _, owner: forged_records(KEY, owner)),
    "a forged end": added(lambda _, owner: forged_records(KEY, owner)[-1:]),
    "a repeated record": added(lambda there, _: there[-1:]),
    "all again": added(lambda there, _: there),
    "garbage": added(lambda *_: [b"", b"x", bytes(100)]),
    "a record of 20 MB": added(lambda *_: [bytes(20 * RECORD_BYTES)]),
    "a thousand records": added(lambda *_: [bytes(32)] * 1000),
}
BEFORE: dict[str, Tampering] = {
    "reversed": rewritten(lambda there: there[::-1]),
    "the first left out": rewritten(lambda there: there[1:]),
    "one left out": rewritten(lambda there: there[:1] + there[2:]),
    "one altered": rewritten(lambda there: [*there[:1], flipped(there[1]), *there[2:]]),
    "one shortened": rewritten(lambda there: [*there[:1], there[1][:-1], *there[2:]]),
    "joined": rewritten(lambda there: [there[0], there[1] + there[2][16:]]),
}


async def led(place: Place, *tags: str) -> tuple[Cache, Work, str]:
    """Have an instance lead a flight that waits after two chunks; return it, its work and its lease's owner."""
    leader, work = await place.instance(), Work()
    work.gate.clear()
    place.stack.callback(work.gate.set)  # before the leader is closed, which waits for it
    await leader.answer(Lookup(KEY, work, tags=tags))
    owner = place.attacker.lease(KEY)
    assert owner is not None
    return leader, work, owner.decode()


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_forged_records_in_a_flight_under_way_are_not_heard(
    place: Place, tampering: str, caplog: pytest.LogCaptureFixture
) -> None:
    leader, work, owner = await led(place)
    victim = await place.instance()
    answer = await victim.answer(Lookup(KEY, Work()))
    heard = answer.flight.chunks()
    assert [await anext(heard), await anext(heard)] == [b"one", b"two"]
    with caplog.at_level(logging.WARNING):
        TAMPERINGS[tampering](place.attacker, owner)
        assert [chunk async for chunk in heard] == [b"three", b"four"]
    assert (victim.counters["flights: forged"], victim.counters["flights: led"]) == (1, 1)
    assert [record.name for record in caplog.records if "another instance" in record.message] == ["sayonce.cache"]
    work.gate.set()
    await asyncio.gather(leader.settle(), victim.settle())
    assert await listen(await (await place.instance()).answer(Lookup(KEY, Work(b"wrong")))) == HONEST


@pytest.mark.parametrize("tampering", BEFORE)
async def test_records_altered_before_a_follower_reads_them_are_not_heard(place: Place, tampering: str) -> None:
    leader, work, owner = await led(place)
    first = await (await place.instance()).answer(Lookup(KEY, Work()))
    assert await anext(first.flight.chunks()) == b"one"
    BEFORE[tampering](place.attacker, owner)
    victim = await place.instance()
    assert await listen(await victim.answer(Lookup(KEY, Work()))) == HONEST
    work.gate.set()
    await leader.settle()


async def test_answers_to_others_do_not_make_a_recorded_flight_a_new_one(place: Place) -> None:
    """Lease, answers and records of an earlier flight of the same key, put back as they were: nobody is at work."""
    leader, work, owner = await led(place)
    follower = await (await place.instance()).answer(Lookup(KEY, Work()))
    work.gate.set()
    assert await listen(follower) == HONEST
    await leader.settle()
    parts = ("followers", "welcomes", COMPUTATION)
    recorded = {part: place.attacker.records(KEY, part, owner) for part in parts}
    assert all(recorded.values())
    await leader.delete(KEY)
    for part, records in recorded.items():
        place.attacker.remove_records(KEY, part, owner)
        place.attacker.plant_records(KEY, part, owner, records)
    place.attacker.plant_lease(KEY, owner)
    victim = await place.instance()
    new = Work(b"new ", b"words", b"", b"")
    assert await listen(await victim.answer(Lookup(KEY, new))) == b"new words"
    assert victim.counters["flights: silent"] == 1


async def test_an_old_take_that_is_put_back_under_a_flight_is_no_clean_end(place: Place) -> None:
    """The entry that is found at the end is genuine, and not the one whose sound was relayed."""
    old = await place.instance()
    await listen(await old.answer(Lookup(KEY, Work(b"old ", b"words"))))
    await old.settle()
    sealed = place.attacker.entry(KEY)
    assert sealed is not None
    await old.delete(KEY)
    leader, work, _ = await led(place)
    put = leader._stored.put

    async def swapped(entry: Entry, **options: Any) -> bool:
        kept = await put(entry, **options)
        place.attacker.plant_entry(KEY, sealed)
        return kept

    leader._stored.put = swapped
    victim = await place.instance()
    answer = await victim.answer(Lookup(KEY, Work(b"one", b"two", b"other", b"words")))
    work.gate.set()
    with pytest.raises(EngineError, match="ask once more"):
        await listen(answer)
    await leader.settle()


async def test_a_flight_that_began_before_a_purge_is_not_followed_after_it(place: Place) -> None:
    leader, work = await place.instance(), Work()
    work.gate.clear()
    await leader.answer(Lookup(KEY, work, tags=["voice=anna"]))
    other = await place.instance()
    await other.purge("voice=anna")
    new = Work(b"new ", b"words", b"", b"")
    assert await listen(await other.answer(Lookup(KEY, new, tags=["voice=anna"]))) == b"new words"
    assert other.counters["flights: outdated"] == 1
    work.gate.set()
    await asyncio.gather(leader.settle(), other.settle())
    after = await place.instance()
    # Of the two, whose writes may land in any order, only the new one counts.
    assert await listen(await after.answer(Lookup(KEY, new, tags=["voice=anna"]))) == b"new words"


@pytest.mark.parametrize("purge", ["tag", "key", "all"])
async def test_a_follower_of_another_instance_hears_the_whole_body_though_it_is_purged_meanwhile(
    place: Place, purge: str
) -> None:
    """What streams ends as it began; nothing of it is kept, and it is not computed twice."""
    leader, work, _ = await led(place, "voice=anna")
    follower = await place.instance()
    heard = asyncio.create_task(listen(await follower.answer(Lookup(KEY, Work(b"wrong"), tags=["voice=anna"]))))
    other = await place.instance()
    await {"tag": partial(other.purge, "voice=anna"), "key": partial(other.remove, KEY), "all": other.remove_all}[
        purge
    ]()
    work.gate.set()
    assert await heard == HONEST
    await asyncio.gather(leader.settle(), follower.settle())
    for instance in (leader, follower, other):
        assert await instance.find(KEY) is None


async def test_a_flight_that_is_silent_for_long_is_followed_by_its_signs_of_life(place: Place) -> None:
    leader, work, _ = await led(place)
    victim = await place.instance()
    answer = await victim.answer(Lookup(KEY, Work(b"wrong")))
    await asyncio.sleep(2 * QUIET_SECONDS)
    work.gate.set()
    assert await listen(answer) == HONEST
    assert (answer.outcome, victim.counters["flights: led"]) == (Outcome.JOINED, 0)
    await leader.settle()


async def test_a_value_in_one_piece_that_takes_long_is_waited_for_by_its_signs_of_life(place: Place) -> None:
    leader, follower = await place.instance(), await place.instance()

    async def slowly() -> bytes:
        await asyncio.sleep(2 * QUIET_SECONDS)
        return b"features"

    async def wrongly() -> bytes:
        return b"wrong"

    leading = asyncio.create_task(leader.fetch(leader.key("x"), slowly))
    await asyncio.sleep(0.1)
    assert (await follower.fetch(follower.key("x"), wrongly)).body == b"features"
    await leading


async def test_a_follower_of_another_secret_is_not_published_for(place: Place) -> None:
    """A leader works for others only where they have its secret: a flight that nobody follows stays in its process."""
    leader, work, owner = await led(place)
    challenge = FlightSeal(OTHER, KEY, owner).seal("followers", 0, bytes(16))
    place.attacker.plant_records(KEY, "followers", owner, [challenge, b"", b"1"])
    await asyncio.sleep(0.3)
    work.gate.set()
    await leader.settle()
    assert place.attacker.records(KEY, "welcomes", owner) == place.attacker.records(KEY, COMPUTATION, owner) == []


# -- what is derived ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tapped", [False, True], ids=["planted", "tapped"])
async def test_no_mp3_is_made_of_forged_sound_though_the_honest_take_is_restored_at_the_end(
    request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tapped: bool
) -> None:
    """What was forged is heard by nobody, and what is kept in its place is made of the honest take."""
    monkeypatch.setattr(cross_process, "QUIET_SECONDS", QUIET_SECONDS)
    valkey, engine = request.getfixturevalue("valkey"), StubEngine()
    (tmp_path / "secret").write_text("known to the instances alone")
    options = {"security__key_secret_file": str(tmp_path / "secret"), "store": valkey.url}
    fields = {"response_format": "mp3"}
    async with serving(StubEngine()) as clean, serving(engine, **options) as leader:
        streamed = (await speak(clean, **fields)).content
        honest = {streamed, (await speak(clean, **fields)).content}
        await speak(leader, **fields)
        await leader.service.cache.settle()
        with valkey.client() as client:
            attacker = RedisAttacker(client)
            [(key, _)] = leader.service.synthesizer.takes.recent
            sealed = attacker.entry(key)
            assert sealed is not None
            await leader.service.synthesizer.forget(key)
            async with serving(StubEngine(), **options) as victim:
                engine.gate.clear()
                leading = asyncio.create_task(speak(leader, **fields)) if tapped else None
                while tapped and attacker.lease(key) is None:
                    await asyncio.sleep(0.01)
                owner = (attacker.lease(key) or new_owner(OTHER, key).encode()).decode()
                head = HEAD + msgspec.msgpack.encode(Head(1.0, (), AudioStart(24000)))
                seal, evil = FlightSeal(OTHER, key, owner), [head, CHUNK + bytes(48_000), END]
                if not tapped:
                    attacker.plant_lease(key, owner)
                answering = asyncio.create_task(speak(victim, **fields))
                attacker.plant_records(
                    key, COMPUTATION, owner, [seal.seal(COMPUTATION, place, each) for place, each in enumerate(evil)]
                )
                await asyncio.sleep(0.2)
                attacker.plant_entry(key, sealed)
                engine.gate.set()
                assert (await answering).content in honest
                await victim.service.cache.settle()
                if leading is not None:
                    await leading
            async with serving(StubEngine(), **options) as another:
                kept = await speak(another, **fields)
    assert kept.headers["Cache-Status"].startswith("sayonce; hit")
    assert kept.content in honest


# -- take-overs ---------------------------------------------------------------------------------------------------------


async def test_a_second_take_that_begins_the_same_and_is_shorter_is_cut() -> None:
    """What was heard is then more than the whole: it is no clean end."""
    flight = Flight(0.0)
    flight.begin()
    flight.send(b"one two three")
    flight.restart()
    flight.begin()
    flight.send(b"one two")
    flight.finish(Entry(key=KEY, body=b"one two", media_type="", created=0.0, expires=1.0))
    with pytest.raises(EngineError, match="ask once more"):
        [chunk async for chunk in flight.chunks()]
    with pytest.raises(EngineError, match="ask once more"):
        await flight.result()


async def test_a_take_over_whose_take_is_shorter_is_cut_and_its_own_take_is_kept(place: Place) -> None:
    leader, _, owner = await led(place)
    victim = await place.instance()
    answer = await victim.answer(Lookup(KEY, Work(b"one", b"t")))
    heard = answer.flight.chunks()
    assert [await anext(heard), await anext(heard)] == [b"one", b"two"]
    place.attacker.plant_records(KEY, COMPUTATION, owner, [b"garbage"])
    with pytest.raises(EngineError, match="ask once more"):
        [chunk async for chunk in heard]
    await victim.settle()
    assert await listen(await victim.answer(Lookup(KEY, Work(b"wrong")))) == b"onet"
    leader._flights._tasks.copy().pop().cancel()


# -- any records at all -------------------------------------------------------------------------------------------------


class Tape:
    """Shows a follower records, and then that the holder is gone."""

    def __init__(self, records: list[bytes]) -> None:
        self._sightings = [
            Sighting(held=True, records=records, position="1"),
            Sighting(held=False, records=[], position="1"),
        ]

    async def look(self, _: object) -> Sighting:
        return self._sightings.pop(0)


OWNER = new_owner(SECRET, KEY)
GENUINE = forged_records(KEY, OWNER, SECRET)
EARLIER = forged_records(KEY, new_owner(SECRET, KEY), SECRET, b"an earlier take")
SOUND = b"evil words"  # genuine here: sealed with the instances' secret

steps = st.lists(
    st.one_of(
        st.sampled_from(GENUINE),
        st.sampled_from(forged_records(KEY, OWNER)),
        st.sampled_from(EARLIER),
        st.binary(max_size=80),
        st.builds(lambda record, at, bit: record[:at] + bytes([record[at] ^ bit]) + record[at + 1 :],
                  st.sampled_from(GENUINE), st.integers(0, 20), st.integers(1, 255)),
    ),
    max_size=6,
)  # fmt: skip


async def relayed(records: list[bytes]) -> tuple[bytes, Ending | None]:
    """Return what a follower hears of records, and the end that it believes."""
    flight, cache, unasked = Flight(0.0), Cache(), cast("Any", [None] * 3)
    others = SharedFlights(*unasked, cache.counts, SECRET, lambda _: True)
    signs = cross_process._Signs(cast("Any", Tape(records)))
    ending = None
    with contextlib.suppress(cross_process.NotBelieved):
        question = Question(KEY, OWNER, COMPUTATION)
        ending = await Turn(others, flight, KEY)._relay(FlightSeal(SECRET, KEY, OWNER), signs, question)
    return b"".join(flight._chunks), ending


@given(st.integers(0, len(GENUINE)), steps)
def test_of_any_records_of_a_flight_only_genuine_ones_in_their_order_are_heard(
    begun: int, records: list[bytes]
) -> None:
    heard, ending = asyncio.run(relayed(GENUINE[:begun] + records))
    assert SOUND.startswith(heard)
    assert ending is None or heard == SOUND


def test_the_genuine_records_of_a_flight_are_heard_to_their_end() -> None:
    heard, ending = asyncio.run(relayed(GENUINE))
    assert heard == SOUND
    assert ending is not None


@given(st.text(max_size=70) | st.builds(lambda at: OWNER[:at] + "0" + OWNER[at + 1 :], st.integers(0, 63)))
def test_no_name_of_a_leases_holder_but_its_own_is_genuine(owner: str) -> None:
    assert is_genuine(SECRET, KEY, owner) == (owner == OWNER)
    assert not is_genuine(OTHER, KEY, owner)


def test_leases_and_records_are_laid_out_as_documented() -> None:
    """The example of ``docs/format.md``: instances of two releases share a store."""
    owner = "000102030405060708090a0b0c0d0e0f90274b2c1e6fb6374e7d7bf1b1ecfb75"
    assert is_genuine(Secret(), bytes(32), owner)
    record = FlightSeal(Secret(), bytes(32), owner).seal(COMPUTATION, 1, CHUNK + b"PCM")
    assert record.hex() == "a16e6d31e94df7c07f07a39abffa1eba6350434d"
    example = (ROOT / "docs/format.md").read_text()
    assert owner in example
    assert record.hex() in example


def test_a_record_that_is_sealed_and_not_readable_is_neither_head_nor_end_of_a_flight() -> None:
    """As without a secret, where everybody can seal."""
    seal = FlightSeal(SECRET, KEY, OWNER)
    for content in (HEAD + b"\xc1", HEAD, END + b"\x01", END):
        assert asyncio.run(relayed([seal.seal(COMPUTATION, 0, content)])) == (b"", None)


def test_nothing_is_heard_behind_a_head_that_has_no_known_form() -> None:
    """As without a secret, where everybody can seal."""
    seal = FlightSeal(SECRET, KEY, OWNER)
    for form, heard in (({"rate": 24000}, b""), (24000, b""), ("audio/pcm", b"sound"), (None, b"sound")):
        head = HEAD + msgspec.msgpack.encode((1.0, (), form))
        records = [seal.seal(COMPUTATION, place, each) for place, each in enumerate((head, CHUNK + b"sound"))]
        assert asyncio.run(relayed(records)) == (heard, None)


def test_the_form_of_a_take_is_told_to_other_instances_as_it_always_was() -> None:
    """Instances of two releases may follow one another."""
    form = {"sample_rate_hz": 24000, "channels": 1, "media_type": "audio/pcm", "proves_end": True}
    assert msgspec.msgpack.encode(Head(1.0, (), AudioStart(24000))) == msgspec.msgpack.encode((1.0, (), form))
