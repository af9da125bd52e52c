"""The shipped configurations of nginx, HAProxy, Caddy and Varnish, each started in front of a gateway and measured."""

import asyncio
import contextlib
import json
import os
import re
from contextlib import aclosing, asynccontextmanager
from html.parser import HTMLParser
from urllib.parse import quote, urljoin

import httpx
import numpy as np
import pytest
import pytest_asyncio
from h2.exceptions import InvalidBodyLengthError

from sayonce.errors import EngineError
from sayonce.gateway.access import new_key
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium
from tests.helpers.paths import ROOT
from tests.helpers.proxies import HOST, NAMES, run_proxy
from tests.helpers.serving import serving, speak, until
from tests.helpers.voice_samples import reference

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_STORE = {"cache-control": "no-store"}
PAGE = (ROOT / "docs/proxies.md").read_text(encoding="utf-8")
SEEN, HIDDEN = "seen", "hidden"


class Speaker(StubEngine):
    """A stub that tells when it has stopped; ``silent`` holds it before its first chunk."""

    def __init__(self):
        super().__init__()
        self.stopped = 0
        self.silent = False

    async def synthesize(self, utterance):
        try:
            async with aclosing(super().synthesize(utterance)) as audio:
                if self.silent:
                    self.calls.append(utterance)
                    await self.gate.wait()
                async for item in audio:
                    yield item
        finally:
            self.stopped += 1


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway():
    async with serving(Speaker(), server__allowed_hosts=HOST) as client:
        yield client


@pytest.fixture
def engine(gateway):
    """The gateway's engine, as new, and held after its first chunk."""
    engine = gateway.service.synthesizer.catalogue.engines[0]
    engine.calls.clear()
    engine.finished, engine.stopped, engine.silent, engine.failure, engine.chunks = 0, 0, False, None, 4
    engine.gate.clear()
    yield engine
    engine.gate.set()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=NAMES)
async def proxy(request, gateway, tmp_path_factory):
    with run_proxy(request.param, tmp_path_factory.mktemp(request.param), gateway.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="module", params=["HTTP/1.1", "HTTP/2"])
async def through(request, proxy):
    """A client of the proxy, over TLS where the proxy has it."""
    async with proxy.client(http2=request.param == "HTTP/2") as client:
        client.protocol, client.proxy = request.param, proxy
        yield client


@asynccontextmanager
async def streaming(client, text, path="", headers=None, **fields):
    body = {"model": "stub", "input": text, "voice": "anna", "response_format": "pcm", **fields}
    async with client.stream("POST", f"{path}/v1/audio/speech", json=body, headers=headers) as answer:
        yield answer


async def test_the_first_sound_passes_while_the_engine_still_speaks(through, gateway, engine):
    for path in ("", "/speech"):
        for stream_format in ("audio", "sse"):
            engine.finished = 0
            engine.gate.clear()
            text = f"Streamed {through.proxy.name} {through.protocol} {path} {stream_format}."
            async with streaming(through, text, path, stream_format=stream_format) as answer:
                assert (answer.status_code, answer.http_version) == (200, through.protocol)
                pieces = answer.aiter_raw()
                sound = await anext(pieces)
                assert engine.finished == 0
                engine.gate.set()
                sound += b"".join([piece async for piece in pieces])
            again = await speak(gateway, text, response_format="pcm", stream_format=stream_format)
            assert "hit" in again.headers["cache-status"]
            assert heard(sound) == heard(again.content)


def heard(body):
    """Return the samples of a body, which may be events; these must come to their end."""
    if not body.startswith(b"data: "):
        return body
    events = [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line]
    assert events[-1]["type"] == "speech.audio.done"
    return "".join(event["audio"] for event in events[:-1])


async def test_a_reference_voice_of_10_mb_is_uploaded(through, gateway):
    noise = np.random.default_rng(7).integers(-20_000, 20_000, 4_990_000, dtype=np.int16)
    files = {"audio_sample": ("voice.wav", reference(noise), "audio/wav")}
    name = f"Ten MB 十 {through.proxy.name}{through.protocol[5:].replace('.', '-')}"
    direct = await gateway.post("/v1/audio/voices", data={"name": "direct"}, files=files)
    answer = await through.post("/speech/v1/audio/voices", data={"name": name}, files=files)
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == direct.json()["id"]
    assert (await through.delete(f"/speech/v1/audio/voices/{quote(name)}")).status_code == 200


async def cut(client, engine, text, **fields):
    """Let the engine fail in the middle of a stream, and return what came, and whether the client could see it."""
    engine.failure, engine.fails_at = EngineError("the engine's power is cut"), 2
    body = b""
    async with streaming(client, text, **fields) as answer:
        try:
            async for piece in answer.aiter_raw():
                body += piece
                engine.gate.set()
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return body, SEEN
    return body, HIDDEN


async def test_a_cut_stream_ends_for_the_client_as_the_table_says(through, engine):
    told = re.search(
        rf"^\| {through.proxy.name} {through.proxy.version} \| (\w+) \| (\w+) \|", PAGE, re.MULTILINE | re.IGNORECASE
    )
    if told is None and os.environ.get("CI") != "true":
        pytest.skip(f"docs/proxies.md has no line for {through.proxy.name} {through.proxy.version}")
    sound, found = await cut(through, engine, f"Cut {through.proxy.name} {through.protocol}.")
    assert sound
    assert found == told.group(2 if through.protocol == "HTTP/2" else 1)


async def test_a_cut_stream_of_events_says_so_behind_every_proxy(through, engine):
    text = f"Cut events {through.proxy.name} {through.protocol}."
    body, _ = await cut(through, engine, text, stream_format="sse")
    assert b"speech.audio.delta" in body
    assert b"speech.audio.done" not in body
    if through.proxy.name != "varnish":  # there the last event may be lost with the rest
        assert b'"type":"error"' in body


async def test_a_whole_clip_that_cannot_be_made_is_an_error_behind_every_proxy(through, engine):
    engine.failure, engine.fails_at = EngineError("the engine's power is cut"), 2
    engine.gate.set()
    answer = await speak(through, f"Whole {through.proxy.name} {through.protocol}.", stream=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")


async def test_a_whole_clip_that_is_cut_is_seen_by_its_length_behind_every_proxy(proxy, tmp_path):
    async def answer_half(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
        writer.close()

    server = await asyncio.start_server(answer_half, "127.0.0.1", 0)
    upstream_port = server.sockets[0].getsockname()[1]
    with contextlib.closing(server), run_proxy(proxy.name, tmp_path, upstream_port) as another:
        for http2 in (False, True):
            async with another.client(http2=http2) as client:
                try:
                    answer = await speak(client)
                except (httpx.ProtocolError, InvalidBodyLengthError):
                    continue
                assert answer.status_code == 503  # by Varnish, where it knew before it had sent anything


async def test_nginx_with_its_buffering_on_streams_too_as_the_gateway_tells_it_to(gateway, engine, tmp_path):
    with run_proxy("nginx", tmp_path, gateway.port, without="proxy_buffering off;") as nginx:
        async with nginx.client() as client, streaming(client, "Buffered.") as answer:
            await anext(answer.aiter_raw())
            assert engine.finished == 0
            engine.gate.set()


async def until_stopped(proxy, engine):
    """Wait until the engine has stopped; Varnish hears that its client has left when there is something to send."""
    while not engine.stopped:
        if proxy.name == "varnish":  # one chunk more
            engine.gate.set()
            engine.gate.clear()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("silent", [False, True], ids=["within the sound", "before the first sound"])
async def test_behind_every_proxy_a_client_that_leaves_frees_its_engine(through, engine, silent):
    engine.silent, engine.chunks = silent, 100

    async def listen():
        async with (
            through.proxy.client(http2=through.protocol == "HTTP/2") as client,
            streaming(client, "Nobody listens.", headers=NO_STORE) as answer,
        ):
            await anext(answer.aiter_raw())

    listening = asyncio.create_task(listen())
    await until(lambda: engine.calls)
    if silent:
        listening.cancel()
    await asyncio.wait([listening])
    await until_stopped(through.proxy, engine)
    assert engine.finished == 0


async def test_connections_to_the_gateway_are_used_again(through, gateway, monkeypatch):
    admitted, admit = [], gateway.bounds.admit
    monkeypatch.setattr(gateway.bounds, "admit", lambda *connection: admitted.append(connection) or admit(*connection))
    for _ in range(20):
        assert (await through.get("/v1/models")).status_code == 200
    assert len(admitted) < 10  # some are HAProxy's looks at /health/ready


async def test_a_proxy_never_sends_a_request_twice(proxy, tmp_path):
    """The upstream answers what is not speech, and closes the connection on each speech request without a word."""
    spoken = []

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                    spoken.append(await reader.readexactly(length))
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    upstream_port = server.sockets[0].getsockname()[1]
    with contextlib.closing(server), run_proxy(proxy.name, tmp_path, upstream_port, gateways=2) as another:
        async with another.client() as client:
            for _ in range(2):  # the connection that is closed is one that was used before
                assert (await client.get("/v1/models")).status_code == 200
            with contextlib.suppress(httpx.RemoteProtocolError):  # HAProxy closes its client's connection as well
                assert (await speak(client)).status_code in (502, 503)
    assert len(spoken) == 1


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src") and not value.startswith("#")]


@pytest.mark.parametrize("path", ["/", "/speech/"])
async def test_pages_and_their_links_work_at_the_root_and_under_a_path(through, path):
    for page in ("", "docs"):
        answer = await through.get(path + page)
        links = Links(answer.text).found
        assert links
        for link in links:
            found = await through.get(urljoin(path + page, link))
            assert (found.status_code, found.url.path.startswith(path)) == (200, True), link
    described = (await through.get(f"{path}openapi.json")).json()
    assert urljoin(f"{path}openapi.json", described["servers"][0]["url"]) == path
    bare = await through.get("/speech")
    assert (bare.status_code, urljoin("/speech", bare.headers["location"])) == (308, "/speech/")


async def test_a_name_that_is_not_allowed_is_refused_behind_a_proxy_too(through):
    """Without keys; were the proxy to put the gateway's address in its place, everyone would be local."""
    assert (await through.get("/v1/models", headers={"host": HOST})).status_code == 200
    refused = await through.get("/v1/models", headers={"host": "elsewhere.example"})
    assert refused.status_code == 403
    assert "server.allowed_hosts" in refused.json()["error"]["message"]


async def test_what_a_proxy_tells_of_its_client_gives_nobody_a_right(gateway):
    told = {
        "x-forwarded-for": "127.0.0.1", "x-forwarded-host": "localhost", "x-forwarded-proto": "https",
        "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1;host=localhost;proto=https",
    }  # fmt: skip
    assert (await gateway.get("/v1/models", headers=told)).status_code == 200
    assert (await gateway.get("/v1/models", headers={"host": "elsewhere.example", **told})).status_code == 403


@pytest.mark.parametrize("without", [None, "return (pass);"], ids=["as shipped", "by its own rules"])
async def test_varnish_keeps_nothing(tmp_path, without):
    keys = dict(new_key(tenant, admin=True) for tenant in ("shop", "guest"))
    (tmp_path / "keys.txt").write_text("\n".join(keys.values()))
    shop, guest = ({"authorization": f"Bearer {key}"} for key in keys)
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys.txt")) as gateway:
        with run_proxy("varnish", tmp_path, gateway.port, without=without) as varnish:
            async with varnish.client() as client:
                files = {"audio_sample": ("voice.wav", reference(), "audio/wav")}
                assert (
                    await client.post("/v1/audio/voices", data={"name": "mine"}, files=files, headers=shop)
                ).status_code == 201
                for path in ("/v1/audio/voices", "/v1/models", "/v1/cache/stats"):
                    own = [(await client.get(path, headers=shop)).json() for _ in range(2)]
                    others = await client.get(path, headers=guest)
                    assert others.status_code == 200
                    assert (await client.get(path)).status_code == 401
                    assert ("mine" in str(own), "mine" in others.text) == (path == "/v1/audio/voices", False)
                for path in ("/health/live", "/health/ready", "/", "/dashboard/api.js", "/docs"):
                    answers = [await client.get(path) for _ in range(2)]
                    # Of what it has kept Varnish names two transactions: the one of now, and the one that brought it.
                    assert [len(answer.headers["x-varnish"].split()) for answer in answers] == [1, 1], path
                assert (await speak(client, headers=shop)).status_code == 200
                assert "hit" in (await speak(client, headers=shop)).headers["cache-status"]
                assert (await speak(client)).status_code == 401


# -- in a browser -------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


async def test_the_dashboard_works_under_a_path_and_a_page_that_stops_listening_is_heard_of(proxy, engine, browser):
    context = await browser.new_context(ignore_https_errors=True, locale="en-GB")
    page = await context.new_page()
    complaints, elsewhere, place = [], [], f"{proxy.url}/speech/"
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith(place) or elsewhere.append(request.url))
    await page.goto(f"{proxy.url}/speech")
    await page.locator("#engines").filter(has_text="stub").first.wait_for()
    assert elsewhere in ([], [f"{proxy.url}/speech"])
    engine.chunks = 100
    await page.evaluate(LISTEN_AND_STOP)
    await until_stopped(proxy, engine)
    assert engine.finished == 0
    assert complaints == []
    await context.close()


LISTEN_AND_STOP = """async () => {
  const stop = new AbortController();
  const answer = await fetch("v1/audio/speech", {
    method: "POST", signal: stop.signal, headers: { "content-type": "application/json", "cache-control": "no-store" },
    body: JSON.stringify({ model: "stub", input: "Stop.", voice: "anna", response_format: "pcm" }),
  });
  await answer.body.getReader().read();
  stop.abort();
}"""
