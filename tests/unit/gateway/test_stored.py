"""What ``Cache-Status`` calls stored is stored: said of a stream by what is known, of a whole file by what has happened."""

import asyncio
import json
import time

import pytest

from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak, until

MISS, STORED = "sayonce; fwd=miss", "sayonce; fwd=miss; stored"


async def streamed(client, text, **fields):
    answer = await speak(client, text, **fields)
    assert answer.status_code == 200, answer.text
    return answer.headers["cache-status"]


async def test_a_clip_is_not_called_stored_when_the_store_is_gone(node):
    async with serving(StubEngine(), store=node.url) as client:
        assert await streamed(client, "One.") == STORED
        node.kill()
        await until(lambda: client.service.cache.store_state == "failing")
        assert await streamed(client, "Two.") == MISS
        node.start()
        await until(lambda: client.service.cache.store_state == "ok")
        assert await streamed(client, "Three, the first write since.") == MISS
        await client.service.cache.settle()
        assert await streamed(client, "Four.") == STORED


@pytest.mark.parametrize("full", [("maxmemory", "1mb"), ("min-replicas-to-write", "1")], ids=["full", "read-only"])
async def test_a_clip_is_not_called_stored_when_the_store_takes_no_writes(node, full):
    async with serving(StubEngine(), store=node.url) as client:
        assert await streamed(client, "One.") == STORED
        node.call("CONFIG", "SET", *full)
        await streamed(client, "The first that is refused tells it.")
        await client.service.cache.settle()
        await until(lambda: client.service.cache.store_state == "unwritable")
        assert await streamed(client, "Two.") == MISS
        assert await streamed(client, "Three.", response_format="mp3") == MISS


class Unproven(StubEngine):
    """Ends as a connection that broke does."""

    async def synthesize(self, utterance):
        async for part in super().synthesize(utterance):
            yield part if isinstance(part, bytes) else type(part)(part.sample_rate_hz, proves_end=False)


async def test_a_clip_that_is_heard_and_not_kept_is_not_called_stored():
    async with serving(Unproven()) as client:
        assert await streamed(client, "One.") == MISS
        assert await streamed(client, "One.") == MISS


# -- whole files --------------------------------------------------------------------------------------------------------

FORMATS = ["wav", "flac", "mp3", "pcm"]
"""Made from the take in memory alone, the take itself, and kept beside it."""
JOINED = "sayonce; fwd=miss; collapsed"


async def whole(client, text, **fields):
    """Ask as a client of HTTP/1.0, which gets the whole file, and return what is said of it."""
    body = json.dumps({"model": "stub", "input": text, "voice": "anna", "response_format": "wav", **fields}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST /v1/audio/speech HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    header, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    fields = dict(line.lower().split(": ", 1) for line in header.decode().split("\r\n")[1:])
    assert header.split()[1] == b"200"
    assert len(content) == int(fields["content-length"])
    return fields["cache-status"]


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("store", ["memory://", "sqlite", "redis"])
async def test_a_whole_file_is_called_stored_where_the_store_keeps_it(store, audio_format, node, tmp_path):
    url = {"sqlite": f"sqlite:///{tmp_path}/clips.db", "redis": node.url}.get(store, store)
    async with serving(StubEngine(), store=url, store__budget_ms=5000) as client:
        assert await whole(client, "One.", response_format=audio_format) == STORED
    async with serving(engine := StubEngine(), store=url) as client:
        assert ("hit" in await whole(client, "One.", response_format=audio_format)) == (store != "memory://")
        assert len(engine.calls) == (store == "memory://")


@pytest.mark.parametrize("audio_format", FORMATS)
async def test_a_whole_file_that_memory_alone_does_not_keep_is_not_called_stored(audio_format):
    async with serving(StubEngine(), memory__max_bytes=0) as client:
        assert await whole(client, "One.", response_format=audio_format) == MISS
        assert await streamed(client, "Two.", response_format=audio_format) == MISS


@pytest.mark.parametrize("audio_format", FORMATS)
async def test_the_first_whole_file_after_redis_is_full_is_not_called_stored(audio_format, node):
    async with serving(StubEngine(), store=node.url, store__budget_ms=5000) as client:
        assert await whole(client, "One.", response_format=audio_format) == STORED
        node.call("CONFIG", "SET", "maxmemory", "1mb")
        assert await whole(client, "Two.", response_format=audio_format) == MISS
        assert await streamed(client, "Three.", response_format=audio_format) == MISS


async def test_the_first_whole_file_after_sqlite_is_full_is_not_called_stored(tmp_path):
    engine = StubEngine()
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db", store__budget_ms=5000) as client:
        assert await whole(client, "One.") == STORED
        await client.service.cache.settle()
        await client.service.cache.store._database.writer.run(
            lambda db: db.execute("PRAGMA max_page_count = 40").fetchone()
        )
        engine.chunks = 60  # more than all that could be removed to make room
        assert await whole(client, "Two.") == MISS
        assert await streamed(client, "Three.") == MISS


@pytest.mark.parametrize("audio_format", FORMATS)
async def test_a_whole_file_that_was_purged_while_it_was_made_is_not_called_stored(audio_format, node):
    engine = StubEngine()
    async with serving(engine, store=node.url, store__budget_ms=5000) as client:
        engine.gate.clear()
        asked = asyncio.create_task(whole(client, "One.", response_format=audio_format))
        await until(lambda: engine.calls)
        await client.service.cache.purge("engine=stub")
        engine.gate.set()
        assert await asked == MISS
        assert await whole(client, "One.", response_format=audio_format) == STORED


async def test_a_stream_that_was_purged_before_it_began_is_not_called_stored():
    engine = LateStart()
    async with serving(engine) as client:
        asked = asyncio.create_task(streamed(client, "One."))
        await until(lambda: engine.calls)
        await client.service.cache.purge("engine=stub")
        engine.starts.set()
        assert await asked == MISS


class LateStart(StubEngine):
    """Says nothing until it is let."""

    def __init__(self):
        super().__init__()
        self.starts = asyncio.Event()

    async def synthesize(self, utterance):
        async for part in super().synthesize(utterance):
            await self.starts.wait()
            yield part


async def test_of_whole_files_that_share_a_computation_the_first_alone_is_called_stored(node):
    engine = StubEngine()
    async with serving(engine, store=node.url, store__budget_ms=5000) as client:
        engine.gate.clear()
        asked = [asyncio.create_task(whole(client, "One.")) for _ in range(3)]
        await until(lambda: client.service.cache.counters["flights: joined"] == 2)
        engine.gate.set()
        assert sorted(await asyncio.gather(*asked)) == [JOINED, JOINED, STORED]
        assert len(engine.calls) == 1


async def test_a_whole_file_waits_for_its_write_no_longer_than_the_budget(node):
    engine = StubEngine()
    async with serving(engine, store=node.url) as client:
        engine.gate.clear()
        asked = asyncio.create_task(whole(client, "One."))
        await until(lambda: engine.calls)
        node.stop()
        began = time.monotonic()
        engine.gate.set()
        assert await asked == MISS
        assert time.monotonic() - began < 1
