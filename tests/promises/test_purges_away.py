"""Purges over HTTP, by whom they are obeyed and when: while the store is away, and while it is there."""

import asyncio
import signal
import sqlite3
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from sayonce.speech import derive
from sayonce.speech.engines import build_engine
from tests.helpers.read_your_writes import Teller, configured, serving, told
from tests.helpers.serving import serving as serving_here
from tests.helpers.tcp_proxy import far_wire_to

WORKERS = 2
ENOUGH = 6 * WORKERS
"""Requests, each with a connection of its own, after which each worker has been met."""


@pytest.fixture
def teller():
    with Teller() as teller:
        yield teller


@pytest.fixture
async def client():
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as client:
        yield client


@pytest.fixture(params=["redis", "sqlite"])
def losable(request, tmp_path):
    """Yield two addresses of one store, and a function that cuts the first address off."""
    if request.param == "redis":
        with far_wire_to(request.getfixturevalue("valkey").port) as wire:
            yield wire.url, request.getfixturevalue("valkey").url, lost(wire)
    else:
        url = f"sqlite:///{tmp_path}/clips.db"
        yield url, url, locked(tmp_path / "clips.db")


def lost(wire):
    @contextmanager
    def away():
        wire.swallow()
        yield
        wire.heal()

    return away


def locked(path):
    @contextmanager
    def away():
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()

    return away


async def say(client, url, text="Hello.", voice="anna", response_format="wav"):
    body = {"input": text, "voice": voice, "response_format": response_format}
    answer = await client.post(f"{url}/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def generations(client, url, text, voice, many=ENOUGH):
    """Ask every worker at once; return which generations of the engine are heard."""
    answers = await asyncio.gather(*(say(client, url, text, voice) for _ in range(many)))
    return {told(answer)["generation"] for answer in answers}


async def purge(client, url, **what):
    return await client.post(f"{url}/v1/cache/purge", json=what)


@pytest.mark.timeout(300)
async def test_a_purge_while_the_store_is_away_is_obeyed_by_all_workers_and_reaches_the_others_afterwards(
    tmp_path, teller, client, losable
):
    near, far, away = losable
    sayonce = configured(tmp_path, teller, "24h")
    with serving(sayonce, near, "--workers", str(WORKERS)) as one, serving(sayonce, far) as other:
        for number, ways in enumerate([["key", "tags"], ["all"]]):
            old, new = 10 * number + 1, 10 * number + 2
            teller.generation = old
            known = {}
            for way in ways:
                known[way] = (await say(client, one.url, f"{way} {number}", way)).headers["x-sayonce-key"]
                for url in (one.url, other.url):
                    assert await generations(client, url, f"{way} {number}", way) == {old}
            with away():
                teller.generation = new
                for way in ways:
                    what = {"key": known[way], "tags": [f"voice={way}"], "all": True}[way]
                    answer = await purge(client, one.url, **{way: what})
                    assert (answer.status_code, answer.json()["obeyed"]) == (202, "this instance"), answer.text
                    assert await generations(client, one.url, f"{way} {number}", way) == {new}
            since = time.monotonic()
            for way in ways:
                while await generations(client, other.url, f"{way} {number}", way, 1) != {new}:
                    assert time.monotonic() - since < 10, way
                    await asyncio.sleep(0.05)


async def test_an_instance_that_is_cut_off_says_what_was_purged_for_store_offline_at_most(
    tmp_path, teller, client, valkey
):
    """Counted from half a second after the cut, when it cannot but have noticed; then it computes."""
    sayonce = configured(tmp_path, teller, "2s")
    with (
        far_wire_to(valkey.port) as wire,
        serving(sayonce, wire.url) as one,
        serving(sayonce, valkey.url) as other,
    ):
        for url in (one.url, other.url):
            assert await generations(client, url, "Hello.", "anna", 1) == {0}
        cut_at = time.monotonic()
        wire.swallow()
        teller.generation = 1
        assert (await purge(client, other.url, tags=["voice=anna"])).status_code == 200
        assert await generations(client, other.url, "Hello.", "anna", 1) == {1}
        said_old = []
        while (sent := time.monotonic() - cut_at) < 4:
            if await generations(client, one.url, "Hello.", "anna", 1) == {0}:
                said_old.append(sent)
        assert 1.0 < max(said_old) <= 2.5, said_old


@pytest.mark.parametrize("offline", ["0", "24h"])
async def test_an_instance_that_was_stopped_during_a_purge_does_not_answer_what_was_purged(
    tmp_path, teller, client, valkey, offline
):
    sayonce = configured(tmp_path, teller, offline)
    with serving(sayonce, valkey.url) as one, serving(sayonce, valkey.url) as other:
        for number in range(5):
            assert await generations(client, one.url, "Hello.", "anna", 1) == {number}
            one.send_signal(signal.SIGSTOP)
            teller.generation = number + 1
            assert (await purge(client, other.url, tags=["voice=anna"])).status_code == 200
            asked = [asyncio.create_task(say(client, one.url)) for _ in range(6)]
            await asyncio.sleep(0.05)  # they lie in the socket of the stopped process
            one.send_signal(signal.SIGCONT)
            assert {told(await each)["generation"] for each in asked} == {number + 1}


async def test_with_offline_0_nothing_is_said_from_memory_while_the_store_is_away(tmp_path, teller, client, valkey):
    sayonce = configured(tmp_path, teller, "0")
    with far_wire_to(valkey.port) as wire, serving(sayonce, wire.url) as one:
        assert await generations(client, one.url, "Hello.", "anna", 1) == {0}
        assert "offline" not in (await client.get(f"{one.url}/health/ready")).json()
        wire.swallow()
        await asyncio.sleep(0.6)  # what was read before is no longer fresh
        assert (await client.get(f"{one.url}/health/ready")).json()["offline"]["hits_end_in_seconds"] == 0
        for number in range(1, 5):
            teller.generation = number
            assert await generations(client, one.url, "Hello.", "anna", 1) == {number}


async def test_without_waiting_a_purge_is_obeyed_by_another_instance_within_a_second(tmp_path, teller, client, valkey):
    sayonce = configured(tmp_path, teller, "24h")
    with serving(sayonce, valkey.url) as one, serving(sayonce, valkey.url) as other:
        took = []
        for number in range(1, 6):
            text = "Hello."
            for url in (one.url, other.url):
                await say(client, url, text)
            teller.generation = number
            began = time.monotonic()
            answer = await purge(client, one.url, tags=["voice=anna"], wait=False)
            answered = time.monotonic()
            took.append(answered - began)
            assert (answer.status_code, answer.json()) == (202, {"obeyed": "within 1 s"})
            assert await generations(client, one.url, text, "anna", 1) == {number}
            await asyncio.sleep(answered + 1 - time.monotonic())
            assert await generations(client, other.url, text, "anna", 1) == {number}
        assert min(took) < 0.4, took  # it did not wait


async def test_of_several_tags_in_one_call_all_are_obeyed_after_one_wait(tmp_path, teller, client, valkey):
    sayonce = configured(tmp_path, teller, "24h")
    voices = [f"voice {number}" for number in range(40)]
    with serving(sayonce, valkey.url) as one, serving(sayonce, valkey.url) as other:
        for voice in (voices[0], voices[-1]):
            await say(client, other.url, voice=voice)
        teller.generation = 1
        began = time.monotonic()
        answer = await purge(client, one.url, tags=[f"voice={voice}" for voice in voices])
        took = time.monotonic() - began
        assert (answer.status_code, answer.json()) == (200, {"obeyed": "every instance"})
        for voice in (voices[0], voices[-1]):
            assert await generations(client, other.url, "Hello.", voice, 1) == {1}
        assert 0.5 <= took < 4  # forty waits would be twenty seconds


@pytest.fixture
async def here(teller, valkey):
    engine = build_engine("far", {"kind": "openai", "base_url": teller.url, "model": "tts"})
    async with serving_here(engine, store=valkey.url) as client:
        yield client


@pytest.mark.parametrize("way", ["key", "tags", "all"])
async def test_a_request_after_a_purge_does_not_join_a_format_that_was_being_made_before_it(
    here, teller, monkeypatch, way
):
    key = (await say(here, "")).headers["x-sayonce-key"]
    begun, go_on, made = threading.Event(), threading.Event(), []
    transcode = derive.transcode

    def held(take, audio_format):
        begun.set()
        assert go_on.wait(30)
        made.append("held")
        return transcode(take, audio_format)

    monkeypatch.setattr(derive, "transcode", held)
    before = asyncio.create_task(say(here, "", response_format="mp3"))
    assert await asyncio.to_thread(begun.wait, 30)
    monkeypatch.setattr(derive, "transcode", transcode)
    teller.generation = 1
    what = {"key": key, "tags": ["voice=anna"], "all": True}[way]
    assert (await purge(here, "", **{way: what})).status_code == 200
    after = await asyncio.wait_for(say(here, "", response_format="mp3"), 20)
    assert not made
    go_on.set()
    assert (await before).content != after.content
    again = await say(here, "", response_format="mp3")
    assert again.headers["cache-status"].startswith("sayonce; hit")
    assert again.headers["etag"] == after.headers["etag"].removeprefix("W/")  # as a file that has its header
    assert told(await say(here, ""))["generation"] == 1


@pytest.mark.parametrize(
    ("body", "field", "told_why"),
    [
        ({"tags": [f"voice={number}" for number in range(65)]}, "tags", "at most 64"),
        ({"tags": []}, "tags", "one tag or more"),
        ({"tags": "voice=anna"}, "tags", "list"),
        ({"tags": ["voice=anna", "v" * 100]}, "tags", "voice=…"),
        ({"tags": ["voice=" + "é" * 2000]}, "tags", "512"),
        ({"tag": "voice=" + "x" * 100_000}, "tag", "512"),
        ({"tag": 5}, "tag", "voice=…"),
    ],
    ids=["too many", "none", "no list", "no tag of ours", "too long", "far too long", "no text"],
)
async def test_tags_over_http_have_bounds_and_the_error_names_the_field(here, body, field, told_why):
    answer = await purge(here, "", **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field)
    assert told_why in error["message"]
    assert len(answer.content) < 1000
