"""Releases of two layouts over one store: neither reads, sweeps, evicts or removes what the other has."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from sayonce import __version__
from sayonce.stores.redis.names import LAYOUT
from sayonce.stores.sqlite.connection import SCHEMA_VERSION
from tests.golden.content import FOLDER, GREETING, LONG
from tests.golden.opening import as_tenant, ask, contents, gateway, load, place, sqlite_url
from tests.helpers.other_release import OtherRelease
from tests.helpers.redis_server import emptied
from tests.helpers.upstream import Upstream, wav

GOLDEN = FOLDER / __version__
HAVOC = """
import asyncio, json, sys, time
from sayonce.config import load_settings
from sayonce.service import Service
from sayonce.stores.blobs.sweep import sweep
from sayonce.testing import FakeClock, StubEngine
from tests.helpers.uploaded_voices import reference

url, folder = sys.argv[1:]
overrides = {"store.url": url, "store.namespace": "golden", "security.key_secret": "the secret of the golden stores",
             "bodies.url": f"file://{folder}/bodies", "bodies.inline_max_bytes": 4000, "store.budget_ms": 2000}

async def speak(service, text):
    plan = await service.synthesizer.plan_fields({"model": "stub", "input": text, "response_format": "flac"})
    answer = await service.synthesizer.speak(plan)
    await answer.result()
    answer.close()
    await service.cache.settle()
    return plan.take_key

async def main():
    clock = FakeClock(time.time())
    service = Service(load_settings(environment={}, overrides=overrides), [StubEngine()], clock=clock)
    async with service:
        cache, voices = service.cache, service.synthesizer.voices
        removed = await cache.remove(await speak(service, "removed"))
        await speak(service, "cleared")
        cleared = await cache.clear()
        await cache.purge("voice=anna", "voice=Ada", "project=golden")
        await voices.add("acme", "Ada", reference(), "another text")
        await voices.remove("acme", "Ada")
        clock.advance(4 * 3600)
        swept = await sweep(cache.store.addresses(), cache.store.bodies, max_bytes=0, without_pointers=True)
        assert await cache.store.get(await speak(service, "kept")) is not None
    print(json.dumps({"removed": removed.entries, "cleared": cleared, "bodies": swept.bodies, "swept": swept.removed}))

asyncio.run(main())
"""
"""Speaks, purges, clears, uploads, removes and sweeps as thoroughly as a release can."""


def bodies(folder, under=""):
    files = (file for file in (folder / "bodies" / under).rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize(("server", "step"), [("redis", 1), ("valkey", -1)], ids=["newer", "older"])
async def test_over_one_redis_a_release_of_another_layout_changes_nothing_of_this_ones(server, step, request, tmp_path):
    running = emptied(request.getfixturevalue(f"{server}_session"))
    place(GOLDEN, "redis", tmp_path)
    ours, theirs = f"sayonce:{LAYOUT}:", f"sayonce:{LAYOUT + step}:"
    with running.client() as client:
        load(client, GOLDEN / "redis.json")
        before, bodies_before = dict(contents(client, ours)), bodies(tmp_path)
        other = OtherRelease(tmp_path, step)
        told = other.told(HAVOC, running.url, str(tmp_path))
        assert told == {"removed": 1, "cleared": 1, "bodies": 2, "swept": 2}
        assert dict(contents(client, ours)) == before
        assert bodies_before.items() <= bodies(tmp_path).items()
        of_the_other = dict(contents(client, theirs)), bodies(tmp_path, f"redis-{LAYOUT + step}")
        assert len(of_the_other[0]) >= 4
        assert of_the_other[1]
        OtherRelease(tmp_path, 0).told(HAVOC, running.url, str(tmp_path))
        assert (dict(contents(client, theirs)), bodies(tmp_path, f"redis-{LAYOUT + step}")) == of_the_other


# -- one SQLite file: the newer release sets the older one's aside ---------------------------------------------------------


OPEN = """
import asyncio, sys
from sayonce.config import load_settings
from sayonce.errors import ConfigError
from sayonce.service import build_cache

async def main():
    async with build_cache(load_settings(environment={}, overrides={"store.url": sys.argv[1]})):
        pass

try:
    asyncio.run(main())
except ConfigError as error:
    sys.exit(error.message)
"""


def rows(path):
    """Return all that a SQLite file and its log hold, but for the order in which entries were used."""
    with tempfile.TemporaryDirectory() as copy, closing(sqlite3.connect(copied(path, Path(copy)))) as db:
        tables = ("bodies", "books", "totals")
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


def copied(path, to):
    for file in path.parent.glob(f"{path.name}*"):
        if file.name in (path.name, f"{path.name}-wal"):
            shutil.copy(file, to / file.name)
    return to / path.name


def set_aside(folder):
    found = folder.glob(f"clips.db.layout-{SCHEMA_VERSION}-*")
    [kept] = (file for file in found if not file.name.endswith("-wal"))
    return kept


def put_back(folder):
    """Do what ``docs/format.md`` says to go back to the former release."""
    kept = set_aside(folder)
    for name in ("clips.db", "clips.db-wal", "clips.db-shm"):
        (folder / name).unlink(missing_ok=True)
    for file in folder.glob(f"{kept.name}*"):
        file.rename(folder / file.name.replace(kept.name, "clips.db"))


async def is_heard(folder):
    async with gateway(sqlite_url(folder), folder) as client:
        answer = await ask(client, "acme", LONG | {"response_format": "flac"})
        return answer.status_code == 200 and "; hit;" in answer.headers["cache-status"]


async def test_a_newer_release_sets_this_ones_file_aside_and_changes_nothing_in_it_nor_of_its_bodies(tmp_path):
    place(GOLDEN, "sqlite", tmp_path)
    file, before = (tmp_path / "clips.db").read_bytes(), bodies(tmp_path)
    OtherRelease(tmp_path, 1).told(HAVOC, sqlite_url(tmp_path), str(tmp_path))
    assert set_aside(tmp_path).read_bytes() == file
    assert before.items() <= bodies(tmp_path).items()
    put_back(tmp_path)
    assert await is_heard(tmp_path)


def test_an_older_release_refuses_this_ones_file_says_why_and_leaves_it_alone(tmp_path):
    place(GOLDEN, "sqlite", tmp_path)
    file = (tmp_path / "clips.db").read_bytes()
    done = OtherRelease(tmp_path, -1).run(OPEN, sqlite_url(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"{tmp_path}/clips.db: was written by a newer release (schema {SCHEMA_VERSION}, this one knows "
        f"{SCHEMA_VERSION - 1}); upgrade sayonce or name another file\n"
    )
    assert (tmp_path / "clips.db").read_bytes() == file
    assert not list(tmp_path.glob("clips.db.*"))


async def test_a_release_that_runs_when_a_newer_one_takes_its_file_goes_on_without_it_and_loses_nothing(tmp_path):
    place(GOLDEN, "sqlite", tmp_path)
    with Upstream() as engine:
        engine.answer(200, wav(bytes(3200)), "audio/wav")
        async with gateway(sqlite_url(tmp_path), tmp_path, base_url=engine.url) as client:
            known = await ask(client, "acme", GREETING | {"response_format": "mp3"})
            OtherRelease(tmp_path, 1).told(HAVOC, sqlite_url(tmp_path), str(tmp_path))
            theirs, kept = rows(tmp_path / "clips.db"), rows(set_aside(tmp_path))
            answer = await ask(client, "acme", {"input": "Said since.", "voice": "anna", "response_format": "wav"})
            assert answer.status_code == 200
            again = await ask(client, "acme", GREETING | {"response_format": "mp3"})
            assert again.content == known.content
            purge = {"tag": "voice=ben"}
            purged = await client.post("/v1/cache/purge", json=purge, headers=as_tenant("operator"))
            assert purged.status_code == 202
            stats = await client.get("/v1/cache/stats", headers=as_tenant("operator"))
            assert "was written by a newer release" in stats.json()["trouble"]
    assert rows(tmp_path / "clips.db") == theirs
    assert rows(set_aside(tmp_path)) == kept
    put_back(tmp_path)
    assert await is_heard(tmp_path)
