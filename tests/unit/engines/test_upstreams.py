"""One engine over several equal servers, on real sockets, behind the gateway, while one of them fails."""

import asyncio
import logging

import httpx
import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError, EngineBusy, EngineError, EngineTimeout, InvalidRequest
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.runtime import balance
from tests.helpers.engine_speech import pcm
from tests.helpers.equal_servers import replicas
from tests.helpers.metering import scrape
from tests.helpers.serving import serving, until
from tests.helpers.upstream import SAMPLE_RATE_HZ, Upstream, samples_of

WORKING = {"model": "far", "voice": "alloy", "response_format": "pcm", "sample_rate": SAMPLE_RATE_HZ}


@pytest.fixture
def quick(monkeypatch):
    """Pauses between checks that a test can wait for."""
    monkeypatch.setattr(balance, "_FIRST_PAUSE_SECONDS", 0.05)


def far(*urls, **options):
    section = {"kind": "openai", "base_url": list(urls), "model": "tts-1", "default_voice": "alloy", **options}
    return build_engine("far", section)


async def speak(client, text):
    return await client.post("/v1/audio/speech", json={**WORKING, "input": text})


async def hear_into(heard, client, text):
    async with client.stream("POST", "/v1/audio/speech", json={**WORKING, "input": text}) as answer:
        async for chunk in answer.aiter_raw():
            heard.append(chunk)


def said(text):
    return {"input": text, "model": "tts-1", "response_format": "wav", "voice": "alloy"}


def assert_whole(answer, text):
    assert (answer.status_code, answer.content) == (200, samples_of(said(text))), answer.text


def far_of(client):
    return client.service.synthesizer.catalogue.engines[0]


# -- load ---------------------------------------------------------------------------------------------------------------


async def test_the_load_is_shared_and_no_server_has_more_than_its_concurrency():
    async with replicas(3) as servers:
        for server in servers:
            server.seconds = 0.02
        async with serving(far(*(server.url for server in servers), concurrency=4)) as client:
            answers = await asyncio.gather(*(speak(client, f"Text {number}.") for number in range(90)))
            for number, answer in enumerate(answers):
                assert_whole(answer, f"Text {number}.")
        assert [server.most for server in servers] == [4, 4, 4]
        assert sum(len(server.said) for server in servers) == 90
        assert min(len(server.said) for server in servers) >= 20


async def test_a_slow_server_gets_fewer_requests():
    async with replicas(2) as (slow, fast):
        slow.seconds, fast.seconds = 0.2, 0.01
        async with serving(far(slow.url, fast.url, concurrency=2)) as client:
            await asyncio.gather(*(speak(client, f"Text {number}.") for number in range(40)))
        assert len(slow.said) < len(fast.said) / 2


async def test_a_server_killed_under_load_fails_no_request_and_overloads_no_other_server():
    async with replicas(3) as servers:
        for server in servers:
            server.seconds = 0.03
        async with serving(far(*(server.url for server in servers), concurrency=4)) as client:
            asked = [asyncio.create_task(speak(client, f"Text {number}.")) for number in range(120)]
            await until(lambda: len(servers[0].said) >= 8)
            await servers[0].kill()
            for number, task in enumerate(asked):
                assert_whole(await task, f"Text {number}.")
            assert client.service.synthesizer.takes.slots["far"].taken == 0
        assert [server.most for server in servers[1:]] == [4, 4]
        assert len(servers[0].said) < 20


async def test_a_server_that_hangs_under_load_delays_only_the_requests_that_it_holds():
    async with replicas(2) as (hanging, good):
        good.seconds = 0.01
        async with serving(far(hanging.url, good.url, concurrency=4, timeout_seconds=1.0)) as client:
            await speak(client, "Before.")
            hanging.does = "hang"
            started = asyncio.get_running_loop().time()
            answers = await asyncio.gather(*(speak(client, f"Text {number}.") for number in range(60)))
            for number, answer in enumerate(answers):
                assert_whole(answer, f"Text {number}.")
            assert asyncio.get_running_loop().time() - started < 10 * 1.0  # four at once, once
            assert not far_of(client).upstreams[0].up


@pytest.mark.parametrize("does", [401, 403, 500, 502, 503, 504, "cut early"])
async def test_an_utterance_that_fails_before_its_first_sound_is_spoken_by_another_server(does):
    async with replicas(2) as (bad, good):
        bad.does = does
        async with serving(far(bad.url, good.url)) as client:
            for number in range(6):
                assert_whole(await speak(client, f"Text {number}."), f"Text {number}.")
            assert [upstream.up for upstream in far_of(client).upstreams] == [False, True]
        assert len(bad.said) == 1


async def test_a_busy_server_is_passed_over_and_is_no_failed_one():
    async with replicas(2) as (busy, free):
        busy.does = 429
        async with serving(far(busy.url, free.url)) as client:
            for number in range(6):
                assert_whole(await speak(client, f"Text {number}."), f"Text {number}.")
            assert [upstream.up for upstream in far_of(client).upstreams] == [True, True]


async def test_an_utterance_that_breaks_off_in_mid_stream_is_cut_and_neither_spliced_nor_stored():
    async with replicas(2) as (breaking, good):
        breaking.does, breaking.accent, good.accent = "cut late", b"AA" * 5000, b"BB" * 5000
        async with serving(far(breaking.url, good.url)) as client:
            heard = []
            with pytest.raises(httpx.RemoteProtocolError):
                await hear_into(heard, client, "Hello.")
            assert set(b"".join(heard)) == {ord("A")}
            await client.service.cache.settle()
            assert (len(breaking.said), len(good.said)) == (1, 0)
            again = await speak(client, "Hello.")
            assert again.headers["cache-status"] == "sayonce; fwd=miss; stored"
            assert again.content == good.accent + samples_of(said("Hello."))
            assert (len(breaking.said), len(good.said)) == (1, 1)


async def test_each_server_is_asked_once_for_a_request_at_most():
    async with replicas(3) as servers:
        for server in servers:
            server.does = 500
        async with serving(far(*(server.url for server in servers))) as client:
            answer = await speak(client, "Hello.")
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
        assert [len(server.said) for server in servers] == [1, 1, 1]


async def test_a_servers_refusal_is_told_at_once_and_is_no_failure_of_the_server():
    async with replicas(2) as servers:
        for server in servers:
            server.does = 400
        engine = far(*(server.url for server in servers))
        async with serving(engine) as client:
            answer = await speak(client, "Hello.")
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
            assert sum(len(server.said) for server in servers) == 1
            for number in range(5):
                assert (await speak(client, f"Text {number}.")).status_code == 400
            assert [upstream.up for upstream in engine.upstreams] == [True, True]
            assert [upstream.failures for upstream in engine.upstreams] == [0, 0]


@pytest.mark.parametrize(("status", "message"), [(500, None), (404, "Not Found")])
async def test_a_request_that_no_server_can_speak_takes_one_server_out_at_most(status, message):
    async with replicas(3) as servers:
        for server in servers:
            server.does, server.message = status, message
        engine = far(*(server.url for server in servers))
        async with serving(engine) as client:
            assert (await speak(client, "Unspeakable.")).status_code == 502
            assert [len(server.said) for server in servers] == [1, 1, 1]
            assert sum(upstream.up for upstream in engine.upstreams) == 2
            for server in servers:
                server.does = "speak"
            assert_whole(await speak(client, "Hello."), "Hello.")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_a_server_asks_for_is_kept_and_told_when_it_is_everyones(status):
    async with replicas(2) as servers:
        servers[0].does, servers[0].headers = status, {"retry-after": "30"}
        engine = far(*(server.url for server in servers))
        async with serving(engine) as client:
            for number in range(6):
                assert_whole(await speak(client, f"Text {number}."), f"Text {number}.")
            assert len(servers[0].said) == 1
            servers[1].does, servers[1].headers = status, {"retry-after": "40"}
            told = [await speak(client, f"More {number}.") for number in range(3)]
            assert [answer.status_code for answer in told] == [503, 503, 503]
            assert [int(answer.headers["retry-after"]) for answer in told] == [40, 30, 30]
            assert [len(server.said) for server in servers] == [1, 7]
            assert engine.state == "ready"


# -- coming back ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_is_asked_again_by_itself(quick, caplog):
    caplog.set_level(logging.INFO, "sayonce.speech")
    async with replicas(2) as servers:
        async with serving(far(*(server.url for server in servers))) as client:
            await servers[0].kill()
            for number in range(6):
                assert_whole(await speak(client, f"Text {number}."), f"Text {number}.")
            await servers[0].start()
            await until(lambda: far_of(client).upstreams[0].up)
            for number in range(6):
                assert_whole(await speak(client, f"More {number}."), f"More {number}.")
        assert len(servers[0].said) == 3
    told = [record.getMessage() for record in caplog.records if record.name == "sayonce.speech"]
    assert told == [
        f"engine far: {servers[0].url} has failed: 'far' cannot be reached",
        f"engine far: {servers[0].url} answers again",
    ]


async def test_a_server_that_fails_its_checks_stays_out(quick):
    async with replicas(2) as (bad, good), serving(far(bad.url, good.url)) as client:
        bad.does, bad.passes_checks = 500, False
        for number in range(6):
            await speak(client, f"Text {number}.")
        await until(lambda: bad.checks >= 3)
        await speak(client, "More.")
        assert (len(bad.said), good.checks) == (1, 0)


async def test_an_outage_of_all_servers_is_told_and_ends_by_itself(quick):
    async with replicas(2) as servers:
        engine = far(*(server.url for server in servers))
        async with serving(engine) as client:
            stored = await speak(client, "Stored.")
            for server in servers:
                await server.kill()
            for number in range(3):
                answer = await speak(client, f"Text {number}.")
                assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
            assert (await speak(client, "Stored.")).content == stored.content
            health = await client.get("/health/ready")
            assert (health.status_code, health.json()["engines"]) == (200, {"far": "down"})
            await servers[1].start()
            assert_whole(await speak(client, "Text 0."), "Text 0.")  # whoever asks finds it, also before a check does
            assert (await client.get("/health/ready")).json()["engines"] == {"far": "ready"}
            await servers[0].start()
            await until(lambda: all(upstream.up for upstream in engine.upstreams))


async def test_servers_that_are_down_at_the_start_keep_nobody_waiting(quick):
    async with replicas(2) as servers:
        await servers[0].kill()
        async with serving(far(*(server.url for server in servers))) as client:
            assert (await client.get("/health/ready")).json()["status"] == "ready"
            assert_whole(await speak(client, "Hello."), "Hello.")


async def test_queued_utterances_move_up_when_a_server_comes_back(quick):
    async with replicas(2) as (gone, held), serving(far(gone.url, held.url, concurrency=1)) as client:
        await gone.kill()
        await speak(client, "Before.")
        held.gate.clear()
        asked = [asyncio.create_task(speak(client, f"Text {number}.")) for number in range(2)]
        slots = client.service.synthesizer.takes.slots["far"]
        await until(lambda: (slots.speaking, slots.waiting) == (1, 1))
        await gone.start()
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().status_code for task in done] == [200]
        held.gate.set()
        await asyncio.gather(*asked)


# -- what is shown ----------------------------------------------------------------------------------------------------------


async def test_metrics_and_the_overview_tell_of_each_server():
    async with replicas(2) as servers:
        urls = [server.url for server in servers]
        servers[0].does = 500
        async with serving(far(*urls)) as client:
            for number in range(4):
                await speak(client, f"Text {number}.")
            scraped = await scrape(client)
            for name, numbers in (("up", (0, 1)), ("calls_total", (1, 4)), ("failures_total", (1, 0))):
                assert [scraped(f"sayonce_upstream_{name}", engine="far", upstream=url) for url in urls] == [*numbers]
            assert scraped("sayonce_engine_ready", engine="far") == 1
            [engine] = (await client.get("/v1/cache/overview")).json()["engines"]
            assert engine["state"] == "ready"
            assert engine["upstreams"] == [
                {"url": urls[0], "up": 0, "calls": 1, "failures": 1},
                {"url": urls[1], "up": 1, "calls": 4, "failures": 0},
            ]
            servers[1].does = 500
            await speak(client, "More.")
            assert (await scrape(client))("sayonce_engine_ready", engine="far") == 0


async def test_a_check_tells_what_is_wrong_with_each_server():
    async with replicas(3) as (good, unable, killed):
        unable.passes_checks = False
        await killed.kill()
        engine = far(good.url, unable.url, killed.url)
        await engine.load()
        found = await engine.check()
        await engine.close()
    assert found.keys() == {unable.url, killed.url}
    assert "answered 503" in found[unable.url]
    assert "cannot be reached" in found[killed.url]


@pytest.mark.parametrize(
    ("models", "speech", "told"),
    [
        (404, 404, "answered 404 to everything"),
        (404, 400, None),
        (404, 422, None),
        (404, 405, None),
        (200, 404, None),
    ],
)
async def test_a_check_names_an_address_where_every_path_is_missing(models, speech, told):
    async with replicas(1) as [server]:
        server.lists_models, server.does, server.message = models, speech, "Not Found"
        engine = far(server.url)
        await engine.load()
        found = await engine.check()
        await engine.close()
        assert [told in message for message in found.values()] == ([] if told is None else [True])


# -- configuration ------------------------------------------------------------------------------------------------------

A, B = "http://a.example/v1", "http://b.example:8000/v1"


@pytest.mark.parametrize("given", [[A, B], [f" {A}/ ", "HTTP://B.example:8000/v1"], f"{A},{B}", f" {A} , {B} "])
def test_addresses_of_servers_are_a_list_or_have_commas_between_them(given):
    engine = build_engine("far", {"kind": "openai", "model": "m", "base_url": given})
    assert [upstream.url for upstream in engine.upstreams] == [A, B]


def test_the_environment_can_name_several_servers():
    variables = {
        "SAYONCE_ENGINES__FAR__KIND": "openai",
        "SAYONCE_ENGINES__FAR__MODEL": "m",
        "SAYONCE_ENGINES__FAR__BASE_URL": f"{A},{B}",
        "SAYONCE_ENGINES__FAR__CONCURRENCY": "3",
    }
    engine = build_engine("far", load_settings(environment=variables).engines["far"])
    assert [upstream.url for upstream in engine.upstreams] == [A, B]
    assert (engine.concurrency, engine.capacity) == (3, 6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], r"engines\.far\.base_url needs an address like http"),
        ("", r"engines\.far\.base_url must be like http"),
        ([A, "b:8000/v1"], r"engines\.far\.base_url\[1\] must be like http"),
        (f"{A},b:8000/v1", r"engines\.far\.base_url\[1\] must be like http"),
        (f"{A},", r"engines\.far\.base_url\[1\] must be like http"),
        ([A, 8000], r"engines\.far\.base_url\[1\] must be a text, not 8000"),
        ([A, "http://me:word@b.example/v1"], r"engines\.far\.base_url\[1\] must have neither credentials"),
        ([A, B, "http://A.example:80/v1/"], r"engines\.far\.base_url\[2\] is the same address as base_url\[0\]"),
        ([f"{A},{B}"], r"engines\.far\.base_url must be one address; several are a list"),
        (f"{A} {B}", r"engines\.far\.base_url must be one address; several are a list"),
        ({"a": A}, r"engines\.far\.base_url must be a text or a list of texts .*, not a table"),
    ],
)
def test_a_wrong_address_of_a_server_is_named_by_its_place_in_the_list(given, told):
    with pytest.raises(ConfigError, match=told) as refused:
        build_engine("far", {"kind": "openai", "model": "m", "base_url": given})
    assert "word" not in str(refused.value)


def test_a_wrong_keyed_as_is_named():
    with pytest.raises(ConfigError, match=r"engines\.far\.keyed_as must be like http"):
        far(A, keyed_as="the old one")


async def test_of_several_servers_a_proxy_is_used_only_for_those_elsewhere(monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with replicas(1) as [proxy]:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        with Upstream() as here:
            engine = far(here.url, "http://speech.invalid/v1")
            await engine.load()
            for number in range(4):
                await pcm(engine, f"Text {number}.")
            await engine.close()
            assert (len(here.heard), len(proxy.said)) == (2, 2)


@pytest.mark.parametrize(
    ("does", "kind"), [(500, EngineError), (400, InvalidRequest), (429, EngineBusy), ("hang", EngineTimeout)]
)
async def test_one_server_alone_is_asked_every_time(does, kind):
    async with replicas(1) as [only]:
        engine = far(only.url, timeout_seconds=0.1)
        await engine.load()
        for _ in range(3):
            only.does = does
            with pytest.raises(kind):
                await pcm(engine, "Hello.")
            only.does = "speak"
            assert await pcm(engine, "Hello.") == samples_of(said("Hello."))
        assert engine.capacity == engine.concurrency
        await engine.close()
