"""Stale is better than silent: clips past their time to live play while they are made anew, or cannot be."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

from sayonce.cache import renewals
from sayonce.core.counters import Counter, Renewal
from sayonce.errors import EngineError
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak, until

DAY = 86_400
STALE = {"store__ttl": "24h", "store__stale": "7d"}
FORMATS = ("mp3", "opus", "wav", "flac")


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("valkey").url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/clips.db"


@pytest.fixture
async def engine():
    return StubEngine()


async def say(client, text="Hello there.", headers=None, form="mp3", **fields):
    """Ask for a whole clip, whose bytes are those that a hit has later."""
    return await speak(client, text, headers, response_format=form, stream=False, **fields)


def seconds_past(answer):
    """Return for how long the clip of an answer has been past its time to live."""
    status = answer.headers["cache-status"]
    name, hit, detail, ttl = status.split("; ")
    assert (name, hit) == ("sayonce", "hit"), status
    assert detail.startswith("detail="), status
    assert ttl.startswith("ttl=-"), status
    return int(ttl.removeprefix("ttl=-"))


def is_fresh(answer):
    return "; hit;" in answer.headers["cache-status"] and "ttl=" not in answer.headers["cache-status"]


async def renewed(client, times=1):
    counts = client.service.cache.counts
    await until(lambda: counts[Counter.RENEWALS, Renewal.DONE] + counts[Counter.RENEWALS, Renewal.FAILED] >= times)
    await client.service.cache.settle()


async def renewed_ahead(in_use):
    in_use.renew()
    await asyncio.gather(*in_use._renewing.values(), return_exceptions=True)


async def test_with_the_engine_dead_for_a_day_every_clip_plays_and_the_purged_and_erased_never(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        said = {name: await say(client, f"In {name}.", form=name) for name in FORMATS}
        erased = await say(client, "Erase me.")
        await say(client, "Purge me.", voice="ben")
        await client.service.cache.settle()
        engine.failure, before = EngineError("the engine is dead"), len(engine.calls)
        clock.advance(2 * DAY)
        for what in ({"key": erased.headers["x-sayonce-key"]}, {"tag": "voice=ben"}):
            assert (await client.post("/v1/cache/purge", json=what)).status_code == 200
        for name, first in said.items():
            for _ in range(3):
                answer = await say(client, f"In {name}.", form=name)
                assert (answer.status_code, answer.content) == (200, first.content), name
                assert DAY <= seconds_past(answer) <= 1.1 * DAY
                assert answer.headers["age"] == str(2 * DAY)
                assert answer.headers["etag"].removeprefix("W/") == first.headers["etag"].removeprefix("W/")
        assert (await say(client, "Erase me.")).status_code == 502
        assert (await say(client, "Purge me.", voice="ben")).status_code == 502
        await client.service.cache.settle()
        # Once for each, in the background, and not again at every request; and once each for what is gone.
        assert len(engine.calls) - before == len(said) + 2
    if store != "memory://":  # which ends with its process
        async with serving(engine, store=store, clock=clock, **STALE) as client:
            for name, first in said.items():
                answer = await say(client, f"In {name}.", form=name)
                assert answer.content == first.content, name
                assert seconds_past(answer) >= DAY
            clock.advance(7 * DAY)
            assert (await say(client, "In mp3.")).status_code == 502


@pytest.mark.parametrize("audio_format", FORMATS)
async def test_what_is_past_its_time_to_live_plays_at_once_and_is_made_anew_meanwhile(
    engine, store, clock, audio_format
):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        old = await say(client, form=audio_format)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.revision = "another sound"
        engine.gate.clear()
        for _ in range(3):
            answer = await say(client, form=audio_format)
            assert (seconds_past(answer) >= 0, answer.content) == (True, old.content)
        await until(lambda: len(engine.calls) == 2)
        engine.gate.set()
        await renewed(client)
        new = await say(client, form=audio_format)
        assert is_fresh(new)
        assert new.headers["age"] == "0"
        assert new.content != old.content
        assert len(engine.calls) == 2


async def test_of_a_take_that_was_made_anew_no_format_keeps_the_older_sound(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        old = {name: await say(client, form=name) for name in FORMATS}
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.revision = "another sound"
        assert (await say(client)).content == old["mp3"].content
        await renewed(client)
        tags = {}
        for name in FORMATS:
            answer = await say(client, form=name)
            assert "ttl=" not in answer.headers["cache-status"], name
            assert answer.content != old[name].content, name
            tags[name] = answer.headers["etag"].strip('W/"').partition("-")[2]
        assert len(set(tags.values())) == 1  # the moment of one take
        assert len(engine.calls) == 2


@asynccontextmanager
async def two_instances(tmp_path, request, clock, shared):
    """Two instances over one store, with their engines, that have played one clip which is past its time to live."""
    url = f"sqlite:///{tmp_path}/clips.db" if shared == "sqlite" else request.getfixturevalue("valkey").url
    first, second = StubEngine(), StubEngine()
    async with (
        serving(first, store=url, clock=clock, **STALE) as one,
        serving(second, store=url, clock=clock, **STALE) as two,
    ):
        for client in (one, two):
            await say(client)
            await client.service.cache.settle()
        clock.advance(DAY)
        yield one, two, first, second


@pytest.mark.parametrize("shared", ["sqlite", "redis"])
async def test_one_of_two_instances_makes_anew_what_both_play(tmp_path, request, clock, shared):
    async with two_instances(tmp_path, request, clock, shared) as (one, two, first, second):
        first.gate.clear()
        second.gate.clear()
        for client in (one, two):
            seconds_past(await say(client))
        await until(lambda: len(first.calls) + len(second.calls) > 1)
        first.gate.set()
        second.gate.set()
        await renewed(one)
        await renewed(two)
        for client in (one, two):
            assert is_fresh(await say(client))
        assert len(first.calls) + len(second.calls) == 2


@pytest.mark.parametrize("shared", ["sqlite", "redis"])
async def test_what_another_instance_made_anew_is_taken_over_from_the_store(tmp_path, request, clock, shared):
    async with two_instances(tmp_path, request, clock, shared) as (one, two, first, second):
        seconds_past(await say(one))
        await renewed(one)
        answer = await say(two)
        assert is_fresh(answer)
        assert answer.headers["age"] == "0"
        assert len(first.calls) + len(second.calls) == 2


async def test_a_store_that_is_away_leaves_what_memory_has_to_play(engine, node, clock):
    async with serving(engine, store=node.url, clock=clock, **STALE) as client:
        old = await say(client)
        await client.service.cache.settle()
        engine.failure = EngineError("the engine is dead")
        clock.advance(DAY)
        node.stop()
        answer = await say(client)
        assert (answer.status_code, answer.content) == (200, old.content)
        assert seconds_past(answer) >= 0


async def test_a_request_that_says_so_gets_nothing_stale(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        for number, control in enumerate(("max-age=999999", "no-cache", "no-store"), 1):
            text = f"Number {number}."
            await say(client, text)
            await client.service.cache.settle()
            clock.advance(DAY)
            answer = await say(client, text, {"cache-control": control})
            assert "fwd=" in answer.headers["cache-status"], control
            assert len(engine.calls) == 2 * number
            engine.failure = EngineError("the engine is dead")
            clock.advance(DAY)
            refused = await say(client, text, {"cache-control": control})
            assert refused.status_code == 502, control
            engine.failure = None
            del engine.calls[2 * number :]


async def test_only_if_cached_plays_what_is_stale_and_has_nothing_made(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        for name in FORMATS:
            await say(client, form=name)
        await client.service.cache.settle()
        clock.advance(DAY)
        for name in FORMATS:
            seconds_past(await say(client, headers={"cache-control": "only-if-cached"}, form=name))
            refused = await say(client, headers={"cache-control": "only-if-cached, max-age=999999"}, form=name)
            assert refused.status_code == 504
        await client.service.cache.settle()
        assert len(engine.calls) == 1


async def test_without_the_setting_nothing_plays_past_its_time_to_live(engine, store, clock):
    async with serving(engine, store=store, clock=clock, store__ttl="24h") as client:
        for number in (1, 2):
            answer = await say(client)
            assert "fwd=miss" in answer.headers["cache-status"]
            await client.service.cache.settle()
            assert len(engine.calls) == number
            clock.advance(DAY)
        engine.failure = EngineError("the engine is dead")
        assert (await say(client)).status_code == 502


async def test_what_fails_in_the_background_is_tried_again_after_a_pause_and_told_in_a_line(
    engine, store, clock, monkeypatch, caplog
):
    monkeypatch.setattr(renewals, "PAUSE_SECONDS", 0.0)
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        old = await say(client)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.failure, caplog.records[:] = RuntimeError("a bug of the engine's"), []
        with caplog.at_level(logging.WARNING):
            for tries in (2, 3):
                answer = await say(client)
                assert answer.content == old.content
                await client.service.cache.settle()
                assert len(engine.calls) == tries
        told = [record for record in caplog.records if record.name == "sayonce.cache"]
        assert [record.getMessage() for record in told] == [
            "what is past its time to live cannot be made anew, and is played on: RuntimeError"
        ]
        assert not any(record.exc_info for record in caplog.records)
        engine.failure = None
        seconds_past(await say(client))
        await client.service.cache.settle()
        assert is_fresh(await say(client))


async def test_a_clip_that_is_purged_while_it_is_made_anew_is_not_kept(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        key = (await say(client)).headers["x-sayonce-key"]
        for what in ({"tag": "voice=anna"}, {"key": key}):
            await client.service.cache.settle()
            clock.advance(DAY)
            engine.gate.clear()
            seconds_past(await say(client))
            await until(lambda: client.service.synthesizer.takes.slots["stub"].speaking)
            assert (await client.post("/v1/cache/purge", json=what)).status_code == 200
            engine.gate.set()
            await client.service.cache.settle()
            assert "fwd=miss" in (await say(client)).headers["cache-status"]


class Silenced(StubEngine):
    """Gives silence once it is told to, as servers in trouble do."""

    silent = False

    def sound(self, utterance, number):
        sound = super().sound(utterance, number)
        return bytes(len(sound)) if self.silent else sound


async def test_silence_takes_no_clips_place_and_is_never_stale(store, clock):
    engine = Silenced()
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        old = await say(client)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.silent = True
        for _ in range(2):
            answer = await say(client)
            assert answer.content == old.content
            await client.service.cache.settle()
        assert seconds_past(answer) >= 0
        await say(client, "Quiet.")
        await client.service.cache.settle()
        clock.advance(120)
        answer = await say(client, "Quiet.")
        assert "fwd=miss" in answer.headers["cache-status"]


async def test_clips_in_use_are_made_anew_before_they_expire_so_that_nobody_hears_one_past_its_time(
    engine, store, clock
):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        in_use = client.service.synthesizer.in_use
        for text, times in {"Greeting.": 3, "Once.": 1}.items():
            for _ in range(times):
                await say(client, text)
        for day in range(3):
            for _ in range(24):
                clock.advance(DAY / 24)
                answer = await say(client, "Greeting.")
                assert is_fresh(answer), day
                assert int(answer.headers["age"]) <= DAY
                client.observer.shown()  # which charges the hits, as happens every half second
                await renewed_ahead(in_use)
        spoken = [call.text for call in engine.calls]
        assert spoken.count("Once.") == 1
        assert 4 <= spoken.count("Greeting.") <= 6


async def test_what_was_in_use_and_is_purged_or_no_longer_asked_for_is_not_made_anew(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        in_use = client.service.synthesizer.in_use
        for text in ("Purged.", "Forgotten."):
            if text == "Forgotten.":
                await client.service.cache.purge("voice=anna")
            for _ in range(3):
                await say(client, text)
            client.observer.shown()
        clock.advance(0.95 * DAY)
        await renewed_ahead(in_use)
        clock.advance(0.95 * DAY)
        await renewed_ahead(in_use)
        await client.service.cache.settle()
        spoken = [call.text for call in engine.calls]
        assert spoken.count("Purged.") == 1
        assert spoken.count("Forgotten.") <= 2


async def test_an_engine_that_hangs_holds_up_the_renewals_of_no_other(store, clock):
    slow, quick = StubEngine("slow"), StubEngine("quick")
    async with serving(slow, quick, store=store, clock=clock, **STALE) as client:
        in_use = client.service.synthesizer.in_use
        for name in ("slow", "quick"):
            for _ in range(2):
                await say(client, model=name)
        client.observer.shown()
        slow.gate.clear()
        for _ in range(48):
            clock.advance(DAY / 24)
            await say(client, model="quick")
            client.observer.shown()
            in_use.renew()
            await until(lambda: "quick" not in in_use._renewing)
        assert len(quick.calls) >= 3
        assert len(slow.calls) == 2  # its second has hung since the first look
        slow.gate.set()
        await client.service.cache.settle()


async def test_whoever_joins_the_renewal_of_a_clip_that_is_not_kept_hears_it_to_its_end(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        old = await say(client)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.silent = True
        engine.gate.clear()
        assert (await say(client)).content == old.content
        await until(lambda: len(engine.calls) == 2)
        joining = asyncio.create_task(say(client, headers={"cache-control": "max-age=60"}))
        await asyncio.sleep(0)
        engine.gate.set()
        assert (await joining).status_code == 200
        await client.service.cache.settle()
        assert (await say(client)).content == old.content


async def test_a_clip_that_is_kept_nowhere_is_never_made_anew_ahead(engine, store, clock):
    async with serving(engine, store=store, clock=clock, **STALE) as client:
        synthesizer = client.service.synthesizer
        plan = synthesizer.plan(synthesizer.parse({"model": "stub", "input": "Hello.", "voice": "anna"}))
        entry = await (await synthesizer.speak(plan)).result()
        passing = msgspec.structs.replace(entry, about={**entry.about, "transient": True})
        synthesizer.in_use.note(plan, passing, 5)
        clock.advance(0.95 * DAY)
        await renewed_ahead(synthesizer.in_use)
        assert len(engine.calls) == 1


async def test_people_go_before_what_is_made_anew_and_that_is_one_at_a_time(clock):
    engine = StubEngine()
    engine.concurrency = 2
    async with serving(engine, clock=clock, **STALE) as client:
        texts = [f"Number {number}." for number in range(4)]
        for text in texts:
            await say(client, text)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.gate.clear()
        for text in texts:
            seconds_past(await say(client, text))
        slots = client.service.synthesizer.takes.slots["stub"]
        await until(lambda: slots.speaking)
        assert slots.speaking == 1
        people = [asyncio.create_task(say(client, f"New {number}.")) for number in range(3)]
        await until(lambda: slots.waiting == 2)
        engine.gate.set()
        for answer in await asyncio.gather(*people):
            assert answer.status_code == 200
        await renewed(client, 4)
        spoken = [call.text for call in engine.calls]
        assert {*spoken[5:8]} == {"New 0.", "New 1.", "New 2."}
        assert {spoken[4], *spoken[8:]} == set(texts)


async def test_whoever_needs_a_new_clip_that_waits_behind_everybody_waits_like_everybody(clock):
    """A request that may not have the stale one joins what is made anew: from then on that takes its turn."""
    engine = StubEngine()
    engine.concurrency = 1
    async with serving(engine, clock=clock, **STALE) as client:
        await say(client)
        await client.service.cache.settle()
        clock.advance(DAY)
        engine.gate.clear()
        slots = client.service.synthesizer.takes.slots["stub"]
        held = asyncio.create_task(say(client, "Held."))
        await until(lambda: slots.speaking == 1)
        seconds_past(await say(client))  # and its renewal waits behind
        joining = asyncio.create_task(say(client, headers={"cache-control": "no-cache"}))
        await until(lambda: slots.waiting == 1)
        late = asyncio.create_task(say(client, "Late."))
        await until(lambda: slots.waiting == 2)
        engine.gate.set()
        for answer in await asyncio.gather(held, joining, late):
            assert answer.status_code == 200
        assert [call.text for call in engine.calls[1:]] == ["Held.", "Hello there.", "Late."]


@pytest.mark.parametrize("shared", ["sqlite", "redis"])
async def test_another_instance_that_needs_a_clip_hurries_what_waits_behind_everybody(tmp_path, request, clock, shared):
    async with two_instances(tmp_path, request, clock, shared) as (one, two, first, second):
        first.concurrency = 1
        slots = one.service.synthesizer.takes.slots["stub"]
        slots.resize(1)
        first.gate.clear()
        held = asyncio.create_task(say(one, "Held."))
        await until(lambda: slots.speaking == 1)
        seconds_past(await say(one))
        joining = asyncio.create_task(say(two, headers={"cache-control": "max-age=60"}))
        await until(lambda: slots.waiting == 1)
        first.gate.set()
        for answer in await asyncio.gather(held, joining):
            assert answer.status_code == 200
        assert len(second.calls) <= 1


async def test_a_clip_without_a_time_to_live_never_expires(engine, store, clock):
    async with serving(engine, store=store, clock=clock, store__ttl="none") as client:
        await say(client)
        clock.advance(timedelta(days=365 * 20).total_seconds())
        assert is_fresh(await say(client))
        assert len(engine.calls) == 1
