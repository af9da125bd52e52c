"""``/metrics``: its counts are true at every worker, and it tells nothing else."""

import asyncio
import time

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import sayonce
from sayonce.cache import Cache
from sayonce.core.envelope import Refused
from sayonce.core.outcome import Refusal
from sayonce.errors import EngineError
from sayonce.gateway.access import new_key
from sayonce.observe.exposition import CacheCollector
from sayonce.stores import open_store
from sayonce.testing import FaultyStore, StubEngine
from tests.helpers.metering import Scraped, scrape
from tests.helpers.serving import serving, speak


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    engine.cost_per_hour = 36.0
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


# -- what is counted ------------------------------------------------------------------------------------------------------


async def test_metrics_count_answers_by_outcome_engine_and_tier(client):
    await speak(client)
    for _ in range(3):
        await speak(client)
    await client.service.cache.settle()
    await client.service.cache.memory.clear()
    await speak(client, response_format="flac")
    found = await scrape(client)
    assert found("sayonce_requests_total", outcome="led", engine="stub", tier="") == 1
    assert found("sayonce_requests_total", outcome="hit", tier="memory") == 3
    assert found("sayonce_requests_total", outcome="hit", tier="sqlite") == 1
    assert found("sayonce_request_seconds_count", outcome="hit") == 4
    assert found("sayonce_first_byte_seconds_count", outcome="hit") == 4
    assert found("sayonce_first_byte_seconds_count", outcome="led") == 1


async def test_the_first_byte_is_timed_apart_from_the_last(client, engine):
    engine.gate.clear()
    stream = client.stream("POST", "/v1/audio/speech", json={"input": "Hi.", "response_format": "pcm"})
    async with stream as answer:
        await anext(answer.aiter_raw(1))
        heard = time.perf_counter()
        await asyncio.sleep(0.05)  # the engine pauses in mid-speech
        engine.gate.set()
    paused = time.perf_counter() - heard
    await speak(client)  # the next request's record comes after the first's
    found = await scrape(client)
    assert found("sayonce_request_seconds_sum") - found("sayonce_first_byte_seconds_sum") >= 0.05 <= paused


async def test_metrics_count_joined_requests_and_the_seconds_that_they_saved(client, engine):
    engine.gate.clear()
    asking = [asyncio.create_task(speak(client)) for _ in range(5)]
    while client.service.cache.counters["flights: joined"] < 4 or not engine.calls:
        await asyncio.sleep(0.001)
    assert (await scrape(client))("sayonce_engine_speaking", engine="stub") == 1
    engine.gate.set()
    sizes = [len((await each).content) for each in asking]
    found = await scrape(client)
    assert found("sayonce_requests_total", outcome="joined") == 4
    assert (found("sayonce_flights_total", part="led"), found("sayonce_flights_total", part="joined")) == (1, 4)
    assert found("sayonce_saved_compute_seconds_total") == pytest.approx(4 * found("sayonce_compute_seconds_total"))
    assert found("sayonce_saved_cost_total") == pytest.approx(found("sayonce_saved_compute_seconds_total") / 100)
    assert found("sayonce_sent_bytes_total") == sum(sizes)
    assert found("sayonce_engine_speaking") == 0


async def test_metrics_count_errors_by_reason(client, engine):
    engine.failure = EngineError("no")
    await speak(client)
    await speak(client, voice="nobody")
    await speak(client, speed=77)
    engine.fails_at = 2
    with pytest.raises(httpx.RemoteProtocolError):
        await speak(client, "Another.", response_format="pcm")
    found = await scrape(client)
    assert found("sayonce_request_errors_total", outcome="failed", reason="engine_failed") == 2
    assert found("sayonce_request_errors_total", outcome="refused", reason="not_found") == 1
    assert found("sayonce_request_errors_total", outcome="refused", reason="invalid_parameter") == 1
    assert found("sayonce_engine_failures_total", engine="stub") == found("sayonce_engine_calls_total") == 2


async def test_metrics_tell_of_the_stores_calls_errors_and_circuit_breaker():
    store = FaultyStore()
    async with Cache(store) as cache:
        await cache.fetch("a", lambda: b"a")
        registry = CollectorRegistry()
        registry.register(CacheCollector(cache))
        well = Scraped(generate_latest(registry).decode())
        store.fault = "trouble"
        for number in range(30):
            await cache.fetch(number, lambda: b"b")
        ill = Scraped(generate_latest(registry).decode())
        store.fault = None
    assert well("sayonce_store_operations_total", part="store", operation="get") >= 1
    assert well("sayonce_store_operations_total", part="store", operation="put") == 1
    assert (well("sayonce_store_errors_total"), well("sayonce_store_breaker_open")) == (0, 0)
    assert ill("sayonce_store_errors_total", part="store", kind="broken") > 0
    assert ill("sayonce_store_breaker_open") == 1
    assert ill("sayonce_store_skipped_total", part="store") > 0
    assert ill("sayonce_tier_entries", tier="memory") == 31


async def test_metrics_tell_of_sweeps_of_bodies_and_their_circuit_breaker(engine, tmp_path):
    options = {"bodies__url": f"file://{tmp_path}/bodies", "bodies__inline_max_bytes": 0}
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db", **options) as client:
        before = await scrape(client)
        await speak(client)
        await client.service.cache.settle()
        [own] = (tmp_path / "bodies").iterdir()  # the folder of this store and its layout
        leave_orphan(own, 2000)
        started = time.time()
        assert await client.service._sweeper.turn()
        after = await scrape(client)
    for outcome in ("done", "failed", "withheld"):
        assert before("sayonce_bodies_sweeps_total", outcome=outcome) == 0
        assert after("sayonce_bodies_sweeps_total", outcome=outcome) == (outcome == "done")
    assert "sayonce_bodies_last_sweep" not in before.text
    assert started <= after("sayonce_bodies_last_sweep_timestamp_seconds") <= time.time()
    assert (before("sayonce_bodies_swept_total"), after("sayonce_bodies_swept_total")) == (0, 1)
    assert after("sayonce_bodies_swept_bytes_total") == 2000
    assert after("sayonce_store_breaker_open", part="bodies") == 0
    assert after("sayonce_store_errors_total", part="bodies", kind="lost") == 0


def leave_orphan(directory, size):
    path = directory / f"2001-01-01T00/{'0' * 64}"
    path.parent.mkdir()
    path.write_bytes(bytes(size))


async def test_metrics_count_refused_values_by_reason():
    store = FaultyStore()
    async with Cache(store) as cache:
        store.fault = Refused(Refusal.SEAL)
        await cache.fetch("a", lambda: b"a")
        registry = CollectorRegistry()
        registry.register(CacheCollector(cache))
        store.fault = None
        found = Scraped(generate_latest(registry).decode())
    assert found("sayonce_refused_values_total", reason="seal") >= 1
    assert found("sayonce_refused_values_total", reason="truncated") == 0


async def test_metrics_count_encoders_by_name(tmp_path):
    async with sayonce.open(f"sqlite:///{tmp_path}/features.db") as cache:

        @cache.remember("style-encoder", revision="1")
        def encode(voice: str) -> bytes:
            return voice.encode()

        for voice in ("anna", "ben", "anna", "anna"):
            await encode(voice)
        registry = CollectorRegistry()
        registry.register(CacheCollector(cache))
        found = Scraped(generate_latest(registry).decode())
    assert found("sayonce_feature_requests_total", function="style-encoder") == 4
    assert found("sayonce_feature_computations_total", function="style-encoder") == 2
    assert "anna" not in found.text


def test_metrics_tell_of_a_cache_for_plain_code_like_any_other(tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/features.db") as cache:
        cache.fetch("a", lambda: b"a")
        registry = CollectorRegistry()
        registry.register(CacheCollector(cache))
        found = Scraped(generate_latest(registry).decode())
    assert found("sayonce_tier_entries", tier="memory") == 1
    assert found("sayonce_store_operations_total", part="store", operation="get") >= 1


async def test_metrics_tell_of_the_memory_of_redis(valkey, engine):
    with valkey.client() as server:
        server.config_set("maxmemory", "100mb")
        async with serving(engine, store=valkey.url) as client:
            await speak(client)
            await client.service.cache.settle()
            found = await scrape(client)
        server.config_set("maxmemory", "0")
    assert found("sayonce_tier_bytes", tier="redis") > 100_000
    assert found("sayonce_tier_max_bytes", tier="redis") == 100 * 2**20
    assert found("sayonce_tier_entries", tier="redis") >= 1


async def test_metrics_tell_flights_between_processes_apart(sealer, tmp_path):
    caches = [Cache(open_store(f"sqlite:///{tmp_path}/clips.db", sealer=sealer)) for _ in range(2)]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def compute():
        begun.set()
        await go_on.wait()
        return b"sound"

    async with caches[0] as one, caches[1] as other:
        leading = asyncio.create_task(one.fetch("a", compute))
        await begun.wait()
        following = asyncio.create_task(other.fetch("a", compute))
        while not other.counters["flights: followed"]:
            await asyncio.sleep(0.001)
        go_on.set()
        await asyncio.gather(leading, following)
    assert (one.counters["flights: led"], other.counters["flights: led"]) == (1, 0)


# -- who may read it, and what it does not tell -----------------------------------------------------------------------------


async def test_metrics_hold_no_text_voice_tenant_or_key(tmp_path, engine):
    keys = {tenant: new_key(tenant, admin=tenant == "watcher") for tenant in ("acme-tenant", "watcher")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in keys.values()))
    async with serving(engine, security__api_keys_file=str(tmp_path / "keys")) as client:
        bearer = {"Authorization": f"Bearer {keys['acme-tenant'][0]}"}
        for _ in range(2):
            answer = await speak(client, "A very private text.", headers=bearer)
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=bearer)).status_code == 403
        found = await scrape(client, Authorization=f"Bearer {keys['watcher'][0]}")
    assert found("sayonce_requests_total", outcome="hit") == 1
    for secret in ("private", "anna", "acme", answer.headers["x-sayonce-key"], keys["acme-tenant"][0]):
        assert secret not in found.text


STORE_FIGURES = {"sayonce_tier_bytes", "sayonce_tier_entries", "sayonce_tier_max_bytes"}
"""Left out of a scrape where the store has no time to tell them."""


async def test_labels_stay_few_whatever_clients_send(client):
    for number in range(50):
        await speak(client, f"Text {number}.", voice="anna" if number % 2 else "ben", speed=0.5 + number / 100)
        await speak(client, f"Text {number}.", model=f"model-{number}", voice=f"voice-{number}")
    few = series(await scrape(client))
    for number in range(50, 60):
        await speak(client, f"Text {number}.", model=f"model-{number}", voice=f"voice-{number}", emotion="happy")
    more = series(await scrape(client))
    assert {name for name, *_ in more ^ few} <= STORE_FIGURES
    assert len(few) < 300


def series(found):
    """Return what there is a sample of; housekeeping calls the store when its time has come."""
    return {(each.name, *each.labels.values()) for each in found.samples if "operations" not in each.name}


async def test_openmetrics_is_given_to_a_client_that_accepts_it(client):
    answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
