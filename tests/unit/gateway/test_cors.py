"""Web pages from elsewhere: those of ``server.cors_origins`` may ask with their key, and all others may not."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError
from sayonce.gateway import openapi
from sayonce.gateway.access import load_access, new_key
from sayonce.gateway.cors import ACCEPTED, EXPOSED
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium
from tests.helpers.serving import serving, speak, until

APP = "https://app.example.com"
OTHER = "https://evil.example.com"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture
def key(tmp_path):
    key, line = new_key("school", admin=True)
    (tmp_path / "keys").write_text(line)
    return key


@asynccontextmanager
async def gateway(tmp_path, *origins, keys=True, engine=None):
    more = {"security__api_keys_file": str(tmp_path / "keys")} if keys else {}
    async with serving(engine or StubEngine(), server__cors_origins=",".join(origins), **more) as client:
        yield client


def allowed(answer):
    return answer.headers.get("access-control-allow-origin")


# -- settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000", "http://127.0.0.1",
                                   "chrome-extension://abcdefgh", "app://obsidian.md", "https://xn--bcher-kva.example:8443"])  # fmt: skip
def test_an_origin_is_a_scheme_and_a_host_and_perhaps_a_port(right):
    assert load_settings(environment={"SAYONCE_SERVER__CORS_ORIGINS": f"{right}, {APP}"}).server.origins == (right, APP)


@pytest.mark.parametrize("wrong", ["app.example.com", "https://app.example.com/", "https://app.example.com/x", "null", "https://",
                                   "https://*.example.com", "https://a@example.com", "https://Example.com", "*.example.com",
                                   "https://app.example.com:443", "http://app.example.com:80", "http://app.example.com:0",
                                   "https://b\u00fccher.example", "https://app.example.com:x", "//app.example.com"])  # fmt: skip
def test_a_setting_that_is_no_origin_is_refused_at_the_start_with_what_would_be_right(wrong):
    with pytest.raises(ConfigError, match=r"cors_origins must be origins such as https://app\.example\.com"):
        load_settings(environment={"SAYONCE_SERVER__CORS_ORIGINS": f"{APP},{wrong}"})


def test_every_origin_may_ask_only_where_there_are_keys(tmp_path, key):
    anyone = {"server.cors_origins": "*"}
    with pytest.raises(ConfigError, match=r"server\.cors_origins has \*, and there are no API keys"):
        load_access(load_settings(environment={}, overrides=anyone))
    keys = {"security.api_keys_file": str(tmp_path / "keys")}
    assert not load_access(load_settings(environment={}, overrides=anyone | keys)).open


# -- answers ------------------------------------------------------------------------------------------------------------


async def test_a_listed_page_learns_before_it_asks_what_it_may_send_and_needs_no_key_for_that(tmp_path, key):
    async with gateway(tmp_path, APP, "http://localhost:3000") as client:
        for origin in (APP, "http://localhost:3000"):
            for path, methods in (("/v1/audio/speech", "OPTIONS, POST"), ("/v1/models", "GET, HEAD, OPTIONS")):
                answer = await client.options(path, headers={"origin": origin, **ASKS})
                assert (answer.status_code, allowed(answer)) == (204, origin)
                assert answer.headers["access-control-allow-methods"] == methods
                assert answer.headers["vary"] == "origin"
                assert int(answer.headers["access-control-max-age"]) > 0
                accepted = answer.headers["access-control-allow-headers"].split(", ")
                assert set(accepted) >= {"authorization", "api-key", "cache-control", "content-type", "x-request-id"}
                assert "access-control-allow-credentials" not in answer.headers


async def test_request_headers_that_a_listed_page_asks_for_are_accepted(tmp_path, key):
    """The OpenAI SDK sends ``x-stainless-…`` from a browser."""
    async with gateway(tmp_path, APP) as client:
        for asked in ("x-stainless-lang,x-stainless-os", "openai-organization"):
            answer = await client.options(
                "/v1/audio/speech", headers={"origin": APP, **ASKS, "access-control-request-headers": asked}
            )
            assert answer.headers["access-control-allow-headers"].endswith(asked)
        for wrong in ("x" * 2000, "a;b", 'a"b'):
            answer = await client.options(
                "/v1/audio/speech", headers={"origin": APP, **ASKS, "access-control-request-headers": wrong}
            )
            assert answer.headers["access-control-allow-headers"] == ", ".join(ACCEPTED)


async def test_a_page_of_the_internet_may_ask_a_private_address_if_it_is_listed(tmp_path, key):
    private = {"access-control-request-private-network": "true", **ASKS}
    async with gateway(tmp_path, APP) as client:
        listed = await client.options("/v1/audio/speech", headers={"origin": APP, **private})
        assert listed.headers["access-control-allow-private-network"] == "true"
        other = await client.options("/v1/audio/speech", headers={"origin": OTHER, **private})
        assert "access-control-allow-private-network" not in other.headers


async def test_every_answer_to_a_listed_page_may_be_read_by_it_and_every_answer_varies(tmp_path, key):
    async with gateway(tmp_path, APP) as client:
        bearer = {"authorization": f"Bearer {key}"}
        for origin, expected in ((APP, APP), (OTHER, None), ("null", None), (f"{APP}:8443", None), (None, None)):
            headers = bearer | ({} if origin is None else {"origin": origin})
            answers = [
                await speak(client, headers=headers),
                await speak(client, headers=headers),
                await speak(client, headers=headers, stream=False, response_format="flac"),
                await speak(client, headers=headers, stream_format="sse"),
                await speak(client, headers=headers, voice="nobody"),
                await speak(client, headers={**headers, "authorization": "Bearer wrong"}),
                await client.get("/v1/models", headers=headers),
                await client.get("/v1/nothing", headers=headers),
                await client.put("/v1/models", headers=headers),
            ]
            for answer in answers:
                assert (allowed(answer), answer.headers["vary"]) == (expected, "origin")
                assert answer.headers.get("access-control-expose-headers") == (expected and ", ".join(EXPOSED))
                assert "access-control-allow-credentials" not in answer.headers


async def test_with_keys_and_an_origin_of_star_any_page_may_ask(tmp_path, key):
    async with gateway(tmp_path, "*") as client:
        answer = await speak(client, headers={"authorization": f"Bearer {key}", "origin": OTHER})
        assert (answer.status_code, allowed(answer)) == (200, "*")
        for other in (answer, await speak(client, headers={"authorization": f"Bearer {key}"})):
            assert (allowed(other), "vary" in other.headers) == ("*", False)  # a cache keeps one answer for all
        assert (await speak(client, headers={"origin": OTHER})).status_code == 401


async def test_a_server_without_listed_origins_sends_no_cors_headers(tmp_path, key):
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys")) as client:
        answer = await client.options("/v1/audio/speech", headers={"origin": APP, **ASKS})
        spoken = await speak(client, headers={"authorization": f"Bearer {key}", "origin": APP})
        for each in (answer, spoken):
            assert not [name for name in each.headers if name.startswith("access-control") or name == "vary"]


async def test_without_keys_a_listed_page_is_let_through_and_no_other(tmp_path):
    elsewhere = {"sec-fetch-site": "cross-site", "user-agent": "Mozilla/5.0"}
    async with gateway(tmp_path, APP, keys=False) as client:
        assert (
            await client.options("/v1/audio/speech", headers={"origin": APP, **ASKS, **elsewhere})
        ).status_code == 204
        answer = await speak(client, headers={"origin": APP, **elsewhere})
        assert (answer.status_code, allowed(answer)) == (200, APP)
        for origin in (OTHER, "null", "http://app.example.com", f"{APP}.evil.com"):
            for refused in (
                await client.options("/v1/audio/speech", headers={"origin": origin, **ASKS, **elsewhere}),
                await speak(client, headers={"origin": origin, **elsewhere}),
                await client.post("/v1/cache/purge", json={"all": True}, headers={"origin": origin, **elsewhere}),
            ):
                assert (refused.status_code, allowed(refused)) == (403, None)
        assert (await speak(client, headers=elsewhere)).status_code == 403


def test_a_listed_page_may_read_every_header_of_the_description():
    described = openapi.description()["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["headers"]
    safelisted = {"Content-Length"}  # by the Fetch standard
    assert set(described) <= set(EXPOSED) | safelisted


# -- in a browser -------------------------------------------------------------------------------------------------------


PLAY = """
async ({target, key, text}) => {
  const audio = new Audio(), source = new MediaSource();
  audio.src = URL.createObjectURL(source);
  await new Promise(resolve => source.addEventListener("sourceopen", resolve, {once: true}));
  const buffer = source.addSourceBuffer("audio/mpeg");
  const answer = await fetch(target + "/v1/audio/speech", {
    method: "POST",
    headers: {"content-type": "application/json", ...(key ? {authorization: `Bearer ${key}`} : {})},
    body: JSON.stringify({model: "stub", input: text, voice: "anna", response_format: "mp3"}),
  });
  const reader = answer.body.getReader();
  const told = {status: answer.status, cache: answer.headers.get("cache-status"), id: answer.headers.get("x-request-id")};
  const append = async (bytes) => {
    buffer.appendBuffer(bytes);
    await new Promise(resolve => buffer.addEventListener("updateend", resolve, {once: true}));
  };
  const playing = audio.play().then(() => new Promise(resolve => audio.addEventListener("timeupdate", () => audio.currentTime > 0 && resolve())));
  playing.then(() => window.heard());
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    await append(value);
  }
  source.endOfStream();
  await playing;
  return {...told, seconds: audio.duration};
}
"""


class Slow(StubEngine):
    """Says a second at once, and is held before the next."""

    def sound(self, utterance, number):
        return 10 * super().sound(utterance, number)


@asynccontextmanager
async def page_elsewhere(browser):
    """Yield a page of another origin."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 11\r\nConnection: close\r\n\r\n<p>Page</p>"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as pages:
        page = await (await browser.new_context()).new_page()
        page.origin = f"http://localhost:{pages.sockets[0].getsockname()[1]}"
        yield page
        pages.close()


@pytest.mark.parametrize("keys", [True, False])
async def test_a_listed_page_plays_a_stream_with_its_key_before_the_synthesis_has_ended(tmp_path, key, keys):
    engine = Slow()
    engine.gate.clear()
    async with chromium() as browser, page_elsewhere(browser) as page:
        await page.goto(page.origin)
        async with gateway(tmp_path, page.origin, keys=keys, engine=engine) as client:
            heard = asyncio.Event()

            def tell():
                assert engine.finished == 0
                heard.set()

            await page.expose_function("heard", tell)
            asked = {"target": f"http://127.0.0.1:{client.port}", "key": key if keys else None, "text": "Hello there."}
            playing = asyncio.create_task(page.evaluate(PLAY, asked))
            await until(lambda: engine.calls or playing.done())
            await asyncio.wait((playing, asyncio.create_task(heard.wait())), return_when=asyncio.FIRST_COMPLETED)
            assert (heard.is_set(), engine.finished) == (True, 0)
            engine.gate.set()
            told = await playing
    assert (told["status"], told["cache"]) == (200, "sayonce; fwd=miss; stored")
    assert told["id"].startswith("req_")
    assert told["seconds"] == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("keys", [True, False])
async def test_a_page_that_is_not_listed_plays_nothing_and_no_engine_is_asked(tmp_path, key, keys):
    engine = StubEngine()
    async with (
        chromium() as browser,
        page_elsewhere(browser) as page,
        gateway(tmp_path, APP, keys=keys, engine=engine) as client,
    ):
        await page.goto(page.origin)
        asked = {"target": f"http://127.0.0.1:{client.port}", "key": key if keys else None, "text": "Hello there."}
        with pytest.raises(Exception, match="Failed to fetch"):
            await page.evaluate(PLAY, asked)
        assert engine.calls == []
