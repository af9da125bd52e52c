"""Clips, requests and texts on the dashboard: of all workers; texts only where the operator allows them, nowhere else
even then, and not after a purge."""

import asyncio
import logging

import pytest

from sayonce.config import WORKERS_VARIABLE
from sayonce.observe.recent import Recent
from sayonce.speech.voices import _EPOCH
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

SECRET = "My account number is 4711."


async def clips(client):
    return (await client.get("/v1/cache/overview")).json()["clips"]


async def texts(client):
    return [clip["text"] for clip in await clips(client)]


async def test_no_text_is_held_for_the_dashboard_unless_the_operator_allows_it():
    async with serving(StubEngine()) as client:
        for _ in range(2):
            await speak(client, SECRET)
        found = (await client.get("/v1/cache/overview")).json()
        recent = client.observer._recent
        assert (found["texts"], [clip["text"] for clip in found["clips"]]) == (False, [None])
        assert SECRET not in repr([recent._clips, recent.noted])


async def test_an_allowed_text_is_told_to_the_dashboard_and_to_nothing_else(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    trace = tmp_path / "requests.trace"
    options = {"dashboard__texts": True, "log__hits": True, "trace__file": str(trace)}
    async with serving(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db", **options) as client:
        for _ in range(3):
            await speak(client, SECRET)
        assert await texts(client) == [SECRET]
        others = [
            (await client.get(path)).text for path in ("/metrics", "/v1/cache/ledger?format=csv", "/v1/cache/stats")
        ]
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert trace.stat().st_size > 100
    assert "4711" not in "".join(others) + caplog.text
    assert b"4711" not in written


async def test_a_long_text_on_the_dashboard_is_shortened():
    async with serving(StubEngine(), dashboard__texts=True) as client:
        for _ in range(2):
            await speak(client, "word " * 100)
        [text] = await texts(client)
    assert (len(text), text[-1]) == (200, "…")


@pytest.mark.parametrize("purged", ["key", "tag", "all"])
async def test_a_purge_forgets_texts_at_every_instance_and_a_request_brings_its_own_text_back(tmp_path, purged):
    url = f"sqlite:///{tmp_path}/clips.db"
    async with (
        serving(StubEngine(), store=url, dashboard__texts=True) as here,
        serving(StubEngine(), store=url, dashboard__texts=True) as there,
    ):
        key = (await speak(here, SECRET)).headers["x-sayonce-key"]
        await here.service.cache.settle()
        for client in (here, here, there, there):
            await speak(client, SECRET)
        assert await texts(here) == await texts(there) == [SECRET]
        what = {"key": key, "tag": "voice=anna", "all": True}[purged]
        assert (await here.post("/v1/cache/purge", json={purged: what})).status_code == 200
        assert await texts(here) == [None]
        assert not here.service.synthesizer.takes.recent  # what explain compares with
        async with asyncio.timeout(5):
            while await texts(there) != [None]:
                await asyncio.sleep(0.01)  # the other instance looks twice a second
        await speak(there, SECRET)
        assert await texts(there) == [SECRET]


async def test_an_upload_of_a_voice_does_not_forget_texts_as_a_purge_does():
    async with serving(StubEngine(), dashboard__texts=True) as client:
        for _ in range(2):
            await speak(client, SECRET)
        await client.service.cache.purge(_EPOCH)  # as an upload does
        assert await texts(client) == [SECRET]


async def test_any_worker_shows_the_clips_and_requests_of_all_and_leaves_no_text_for_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, str(tmp_path))
    options = {"dashboard__texts": True}
    async with serving(StubEngine(), **options) as here, serving(StubEngine(), **options) as there:

        async def shown(client, *expected):
            async with asyncio.timeout(10):
                while True:
                    found = (await client.get("/v1/cache/overview")).json()
                    clips = [(clip["hits"], clip["text"]) for clip in found["clips"]]
                    if (clips, [request["outcome"] for request in found["latest"]]) == expected:
                        return
                    await asyncio.sleep(0.01)  # the others leave theirs twice a second

        for _ in range(3):
            await speak(here, SECRET)
        await shown(there, [(2, None)], ["hit", "hit", "led"])
        for _ in range(2):
            await speak(there, SECRET)
        for client in (here, there):
            await shown(client, [(3, SECRET)], ["hit", "led", "hit", "hit", "led"])
        assert [path.name for path in tmp_path.iterdir() if b"4711" in path.read_bytes()] == []


def test_texts_are_not_held_by_default():
    assert not Recent(lambda *_: True).texts


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/clips.db"])
@pytest.mark.parametrize("purged", ["key", "tag", "all"])
async def test_a_purged_clip_is_not_offered_for_playing_until_it_is_made_again(tmp_path, purged, store):
    async with serving(StubEngine(), store=store.format(tmp_path)) as client:
        kept, gone = "kept", "gone"
        key = (await speak(client, gone)).headers["x-sayonce-key"]
        for text, voice in ((gone, "anna"), (kept, "ben"), (kept, "ben")):
            await speak(client, text, voice=voice)
        assert [clip["gone"] for clip in await clips(client)] == [False, False]
        what = {"key": key, "tag": "voice=anna", "all": True}[purged]
        assert (await client.post("/v1/cache/purge", json={purged: what})).status_code == 200
        shown = {clip["voice"]: clip["gone"] for clip in await clips(client)}
        assert shown == {"anna": True, "ben": purged == "all"}
        for clip in await clips(client):
            played = await client.get(f"/v1/cache/clips/{clip['key']}")
            assert played.status_code == (404 if clip["gone"] else 200)
        await speak(client, gone)
        assert {clip["voice"]: clip["gone"] for clip in await clips(client)}["anna"] is False


async def test_a_latest_request_tells_the_tier_of_an_answer_and_the_reason_of_an_error_apart():
    async with serving(StubEngine()) as client:
        await speak(client)
        await speak(client)
        await speak(client, voice="nobody")
        latest = (await client.get("/v1/cache/overview")).json()["latest"]
    told = [(each["outcome"], each["tier"], each["reason"]) for each in latest]
    assert told == [("refused", None, "not_found"), ("hit", "memory", None), ("led", None, None)]
