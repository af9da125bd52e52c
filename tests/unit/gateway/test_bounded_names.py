"""Names that clients send: counters, records and memory of them stay within their bounds."""

import asyncio
import gc
import json
import os
from pathlib import Path

from sayonce.cache.known_purges import MAX_PURGED_TAGS
from sayonce.gateway import plans
from sayonce.observe.ledger import MAX_ACCOUNTS
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

FEW, MANY = 1000, 3000
GROWTH_BYTES = 10_000_000


class Anyone(StubEngine):
    """Speaks in any voice that it is asked for."""

    def voices(self):
        return ()


async def test_series_and_memory_do_not_grow_with_the_names_that_clients_send():
    async with serving(Anyone(chunks=1), memory__max_bytes=1_000_000) as client:
        await send_names(client.gateway, range(FEW))
        before, used_bytes = await series(client), resident_bytes()
        await send_names(client.gateway, range(FEW, FEW + MANY))
        assert await series(client) == before
        assert resident_bytes() - used_bytes < GROWTH_BYTES


async def test_containers_that_clients_name_stay_within_the_bounds_that_are_documented(monkeypatch):
    monkeypatch.setattr(plans, "MAX_PLANS", 100)
    async with serving(Anyone(chunks=1), memory__max_bytes=1_000_000) as client:
        await send_names(client.gateway, range(1500))
        gateway, observer = client.gateway, client.observer
        assert 0 < len(gateway._speech._plans) <= 100
        assert len(gateway._local._known) <= 256
        assert len(observer._recent._clips) <= 1000
        assert len(observer.ledger._part.accounts) <= MAX_ACCOUNTS + 1  # and the one that all others share
        assert len(observer._hits._batches) <= 1000
        assert len(client.service.synthesizer.takes.refusals._refused) <= 1000
        for first in range(0, 3 * MAX_PURGED_TAGS, 50):
            tags = [f"voice=voice-{number}" for number in range(first, first + 50)]
            assert (await client.post("/v1/cache/purge", json={"tags": tags})).status_code == 200
            assert len(client.service.cache._invalidation.known.epochs.known) <= MAX_PURGED_TAGS


async def test_a_lookup_is_kept_of_a_text_that_was_a_hit_and_of_no_text_that_is_new(tmp_path):
    """It takes more memory than the plan."""
    async with serving(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db", memory__max_bytes=0) as client:
        for text in ("Again.", "Once.", "Again."):
            await speak(client, text, response_format="mp3")
            await client.service.cache.settle()
        known = client.gateway._speech._plans._known.values()
        assert [each.plan.request.utterance.text for each in known if each.lookup is not None] == ["Again."]


async def send_names(gateway, numbers):
    for number in numbers:
        known = await ask(gateway, number, model="stub", input="Hi.", voice=f"voice-{number}", response_format="flac")
        unknown = await ask(gateway, number, model=f"model-{number}", input="Hi.", voice="anna")
        assert (known, unknown) == (200, 404)


async def ask(gateway, number, **fields):
    """Ask as a client with names of its own, in process."""
    coming, statuses = [{"type": "http.request", "body": json.dumps(fields).encode()}], []

    async def receive():
        return coming.pop() if coming else await asyncio.Event().wait()

    async def send(message):
        statuses.append(message.get("status"))

    names = [(name, b"%b-%d" % (name, number)) for name in (b"user-agent", b"x-request-id", b"x-tenant")]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), *names]
    scope = {"type": "http", "method": "POST", "path": "/v1/audio/speech", "http_version": "1.1", "headers": headers}
    await gateway(scope, receive, send)
    return statuses[0]


async def series(client):
    text = (await client.get("/metrics")).text
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")}


def resident_bytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
