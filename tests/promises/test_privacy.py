"""Texts stay private: nothing that is stored or logged holds one, and a store gets nothing that is for this process alone."""

import logging
import sqlite3
from contextlib import closing

import pytest

from sayonce.audio.formats import FORMATS, RENDERINGS
from sayonce.cache import Cache, Lookup, Made, Scope
from sayonce.core.cache_control import Policy
from sayonce.core.envelope import Sealer
from sayonce.core.key import Secret
from sayonce.errors import NotCached
from sayonce.gateway.access import new_key
from sayonce.speech import identity
from sayonce.speech.engines import build_engine
from sayonce.stores import open_store
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

TEXT = "The launch code is nought nought seven."
SPELLINGS = [TEXT.encode(), TEXT.encode("utf-16-le"), TEXT.encode().hex().encode(), b"launch"]


def told_by(directory):
    """Everything that is in the files below a directory, and in their names."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


async def test_no_text_is_in_the_store_the_bodies_or_the_clips(tmp_path):
    options = {"bodies__url": f"file://{tmp_path}/bodies", "bodies__inline_max_bytes": "0"}
    (tmp_path / "bodies").mkdir()
    async with serving(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db", **options) as client:
        clips = [(await speak(client, TEXT, response_format=each)).content for each in FORMATS]
        await client.service.cache.settle()
    kept = told_by(tmp_path)
    assert len(kept) > 50_000
    for spelling in SPELLINGS:
        assert spelling not in kept
        assert not any(spelling in clip for clip in clips)


async def test_no_text_is_in_redis(valkey):
    async with serving(StubEngine(), store=valkey.url) as client:
        await speak(client, TEXT, response_format="mp3")
        await client.service.cache.settle()
        with valkey.client() as server:
            names = server.keys()
            kept = b"".join(names) + b"".join(server.dump(name) for name in names)
    assert len(names) >= 2
    assert not any(spelling in kept for spelling in SPELLINGS)


async def test_neither_texts_nor_keys_are_in_any_librarys_debug_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    key, line = new_key("acme")
    (tmp_path / "keys").write_text(line)
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(StubEngine(), store=store, security__api_keys_file=str(tmp_path / "keys")) as client:
        caplog.clear()
        for _ in range(2):
            assert (await speak(client, TEXT, headers={"Authorization": f"Bearer {key}"})).status_code == 200
            await client.service.cache.settle()
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert "sayonce.request" in {record.name for record in caplog.records}
    assert "launch" not in ours
    assert key not in ours


async def test_bodies_in_a_bucket_are_for_nobody_else(bucket, tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(StubEngine(), store=store, bodies__url=bucket.url, bodies__inline_max_bytes="0") as client:
        await speak(client, TEXT)
        await client.service.cache.settle()
    [listed] = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=listed["Key"])["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL"]
    assert "URI" not in grants[0]["Grantee"]  # no group, such as AllUsers
    assert b"launch" not in listed["Key"].encode()


class Held:
    """A store, and all that is in it, as its server or its file has it."""

    def __init__(self, url, contents, gets):
        self.url = url
        self.contents = contents
        self.gets = gets
        """Returns how many values it was asked for; None where it does not count them."""


@pytest.fixture(params=["sqlite", "valkey"])
def held(request, tmp_path):
    if request.param == "sqlite":
        path = tmp_path / "clips.db"

        def rows():
            with closing(sqlite3.connect(path)) as file:
                return sorted(line for line in file.iterdump() if line.startswith("INSERT"))

        return Held(f"sqlite:///{path}", rows, lambda: None)
    server = request.getfixturevalue("valkey")

    def keys():
        with server.client() as client:
            names = client.keys()
            return sorted((name, client.dump(name)) for name in names)

    def gets():
        with server.client() as client:
            commands = client.info("commandstats")
            return [commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "set")]

    return Held(server.url, keys, gets)


@pytest.mark.parametrize("scope", Scope)
async def test_what_is_for_this_process_alone_reaches_no_store_at_any_moment(held, scope):
    secret = Secret(b"a secret for tests")
    caches = [Cache(open_store(held.url, sealer=Sealer(secret)), secret=secret, budget_seconds=5) for _ in range(2)]
    here, elsewhere = caches
    for cache in caches:  # and not their housekeeping, which writes by itself
        await cache.store.open()
        await cache.settle_view()
    key, before, asked, meanwhile = here.key(TEXT), held.contents(), held.gets(), []

    async def compute(flight):
        flight.begin("text/plain")
        flight.send(TEXT.encode())
        meanwhile.append(held.contents() == before)
        return Made(body=TEXT.encode())

    for _ in range(2):
        answer = await here.answer(Lookup(key, compute, scope=scope, tags=("launch",)))
        assert (await answer.result()).body == TEXT.encode()
        await here.settle()
    untouched = (len(meanwhile), all(meanwhile), held.contents() == before, held.gets() == asked)
    if scope is Scope.LOCAL:
        assert untouched == (1, True, True, True)
        with pytest.raises(NotCached):
            await elsewhere.answer(Lookup(key, compute, policy=Policy(only_if_cached=True)))
    else:
        assert untouched[:3] == (1, False, False)  # so that this test would notice
    for cache in caches:
        await cache.close()


async def test_a_lossless_clip_and_a_silence_are_in_no_store_and_for_silence_none_is_asked(held):
    async with serving(StubEngine(), build_engine("espeak", {}), store=held.url) as client:
        cache = client.service.cache

        async def stored(take_key):
            return [each.name for each in RENDERINGS if await cache.store.get(identity.derivative(take_key, each))]

        for each in FORMATS:
            spoken = await speak(client, TEXT, response_format=each)
        await cache.settle()
        take_key = bytes.fromhex(spoken.headers["x-sayonce-key"])
        assert sorted(await stored(take_key)) == sorted(
            {each.name for each in RENDERINGS if not each.lossless} & {*FORMATS}
        )
        asked = held.gets()
        for each in FORMATS:
            cache.memory._entries.clear()
            silence = await speak(client, ".", model="espeak", voice="en", response_format=each)
            assert silence.status_code == 200
        await cache.settle()
        assert held.gets() == asked
        take_key = bytes.fromhex(silence.headers["x-sayonce-key"])
        assert await cache.store.get(take_key) is None
        assert await stored(take_key) == []
