"""The bounds of one request before anyone is authenticated, and its form on the connection; a refusal names the bound."""

import asyncio
import logging
import pickle
import queue
import re
import socket
import threading
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.config import ServerSettings
from sayonce.gateway.protocol import MAX_PIPELINED, BoundedProtocol, bounded
from sayonce.gateway.refusals import MAX_FIELDS, MAX_TARGET_BYTES
from sayonce.testing import StubEngine
from tests.helpers.paths import ROOT
from tests.helpers.raw_requests import LIVE, SPEECH, alive, answer, connected, ends, post, refused
from tests.helpers.serving import serving, speak


@pytest.fixture
async def client(caplog):
    async with serving(StubEngine()) as client:
        yield client
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]


# -- the header ---------------------------------------------------------------------------------------------------------


async def test_a_target_that_is_too_long_is_a_414_before_it_has_come(client):
    await refused(client, b"GET /" + b"a" * 20_000, 414, "target_too_long")
    await refused(client, b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414)
    await alive(client)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_header_that_is_too_long_is_a_431_whether_it_ends_or_not(client, end):
    told = await refused(client, LIVE[:-2] + b"X-Long: " + b"a" * 70_000 + end, 431, "headers_too_large")
    assert "server.header_max_bytes" in told
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(70))
    await refused(client, LIVE[:-2] + fields + end, 431, "headers_too_large")


async def test_a_header_may_be_as_long_as_the_bound_and_not_a_byte_longer(client):
    bound = client.bounds.server.header_max_bytes
    fields = len("/health/live") + len("Host: localhost\r\n") + len("X-Long: \r\n")
    most = LIVE[:-2] + b"X-Long: " + b"a" * (bound - fields)
    async with connected(client, most + b"\r\n\r\n") as (reader, _):
        assert (await answer(reader))[0] == 200
    await refused(client, most + b"a\r\n\r\n", 431, "headers_too_large")
    await refused(client, most.ljust(bound + 1, b"a"), 431, "headers_too_large")  # and it has not ended


async def test_a_header_within_the_bound_is_taken_though_it_comes_with_a_large_body(client):
    body = SPEECH[:-1] + b" " * 200_000 + b"}"
    async with connected(client, post(body, "X-Long: " + "a" * 60_000)) as (reader, _):
        assert (await answer(reader))[0] == 200


@pytest.mark.parametrize("end", [b"", b"\r\n"])
async def test_too_many_header_fields_are_a_431(client, end):
    fields = b"".join(b"a%d: b\r\n" % number for number in range(MAX_FIELDS + 1))
    await refused(client, LIVE[:-2] + fields + end, 431, "too_many_headers")


@pytest.mark.parametrize(
    "flood", [b"1;" + b"a" * 300_000, b"5\r\nhello\r\n0\r\n" + b"X-Trailer: aaaaaaaaaa\r\n" * 20_000]
)
async def test_what_is_sent_beside_a_chunked_body_is_bounded_too(client, flood):
    head = post(b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    async with connected(client) as (reader, writer):
        writer.write(head)
        for start in range(0, len(flood), 10_000):
            writer.write(flood[start : start + 10_000])
            await asyncio.sleep(0.001)
        status, _, _ = await answer(reader)
        assert status in (400, 431)
        if status == 431:
            assert await ends(reader)
    await alive(client)


CHUNKED = post(b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
UPGRADES = [
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ),
    ("Connection: keep-alive, Upgrade", "Upgrade: TLS/1.0, other"),
]


@pytest.mark.parametrize("fields", UPGRADES)
@pytest.mark.parametrize("pieces", [1, 2, 1000])
async def test_another_protocol_that_is_asked_for_is_not_taken_and_the_request_is_answered(client, fields, pieces):
    """Java's HttpClient asks for h2c with its first request."""
    known = post(SPEECH.replace(b"Hello", b"Hello again"), *fields)
    chunked = CHUNKED.replace(b"\r\n\r\n", "\r\n{}\r\n\r\n".format("\r\n".join(fields)).encode())
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(SPEECH), SPEECH)
    get = LIVE.replace(b"\r\n\r\n", "\r\n{}\r\n\r\n".format("\r\n".join(fields)).encode())
    sent = known + LIVE + chunked + get + get + known
    async with connected(client) as (reader, writer):
        size = len(sent) // pieces + 1
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await asyncio.sleep(0)
        lengths = []
        for _ in range(6):
            status, _, body = await answer(reader)
            assert status == 200, body
            lengths.append(len(body))
        assert lengths[0] == lengths[2] == lengths[5] > 1000
        assert lengths[1] == lengths[3] == lengths[4] < 100
    calls = client.service.synthesizer.catalogue.engines[0].calls
    assert [call.text for call in calls] == ["Hello again there.", "Hello there."]


@pytest.mark.parametrize("coding", ["gzip", "xchunked", "chunked, identity"])
@pytest.mark.parametrize("more", [b"", LIVE])
async def test_a_body_whose_end_cannot_be_known_is_a_400_also_where_another_protocol_is_asked_for(client, coding, more):
    upgrade = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    await refused(client, upgrade.replace(b": chunked", b": " + coding.encode()) + more, 400, "invalid_request")
    await alive(client)


@pytest.mark.parametrize(
    "field", ["Host: evil.com", "Content-Type: text/plain", "Cache-Control: only-if-cached", "Authorization: x"]
)
async def test_a_trailer_is_no_header(client, field):
    body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(SPEECH), SPEECH, field.encode())
    async with connected(client, CHUNKED + body + LIVE) as (reader, _):
        assert [(await answer(reader))[0] for _ in range(2)] == [200, 200]


async def test_a_body_in_far_too_small_chunks_is_refused_early(client):
    """Each costs the event loop as much as a large one."""
    await refused(client, CHUNKED + b"1\r\n \r\n" * 300_000, 400, "chunks_too_small")
    await alive(client)


async def test_a_body_in_the_smallest_chunks_is_taken(client):
    head = CHUNKED
    body = SPEECH[:-1] + b" " * 3000 + b"}"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    async with connected(client) as (reader, writer):
        writer.write(head)
        for start in range(0, len(chunks), 1000):
            writer.write(chunks[start : start + 1000])
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await answer(reader))[0] == 200


async def test_the_authority_of_an_absolute_target_stands_for_the_host(client):
    async with connected(client, b"GET http://localhost:1/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n") as (
        reader,
        _,
    ):
        assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT http://localhost/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n" + LIVE,
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_bytes_that_are_no_http_are_a_400_in_the_apis_form(client, sent):
    await refused(client, sent, 400, "invalid_request")
    await alive(client)


# -- several requests ---------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order_and_a_flood_of_them_is_cut(client):
    async with connected(client, LIVE * MAX_PIPELINED + post()) as (reader, _):
        assert [(await answer(reader))[0] for _ in range(MAX_PIPELINED + 1)] == [200] * (MAX_PIPELINED + 1)
    for flood in (MAX_PIPELINED + 2, 10_000):
        async with connected(client, LIVE * flood) as (reader, _):
            assert await answer(reader) == (0, {}, b"")
    await alive(client)


async def test_pipelined_hits_are_answered_each_with_its_own_sound_whatever_stands_between_them(client):
    bodies = [SPEECH.replace(b"wav", b"pcm").replace(b"Hello", b"Hello %d" % number) for number in range(3)]
    clips = []
    for body in bodies:
        async with connected(client, post(body)) as (reader, _):
            clips.append((await answer(reader))[2])
    await client.service.cache.settle()
    order = [0, 1, 1, 2, 0, 2]
    for between in (b"", LIVE, post(b"{")):
        async with connected(client, between.join(post(bodies[number]) for number in order)) as (reader, _):
            for place, number in enumerate(order):
                if between and place:
                    assert (await answer(reader))[0] == (200 if between == LIVE else 400)
                status, _, heard = await answer(reader)
                assert (status, heard) == (200, clips[number])
    assert len(client.service.synthesizer.catalogue.engines[0].calls) == 3


async def test_a_hit_is_sent_at_once_whoever_listens_to_uvicorns_log(client, monkeypatch):
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "handlers", [logging.NullHandler()])
    answer_at_once, sent = BoundedProtocol.answer_at_once, []

    def noting(connection, *answer):
        sent.append(answer_at_once(connection, *answer))
        return sent[-1]

    monkeypatch.setattr(BoundedProtocol, "answer_at_once", noting)
    await speak(client)
    await client.service.cache.settle()
    assert (await speak(client)).headers["cache-status"] == "sayonce; hit; detail=memory"
    assert sent == [True]


async def test_a_client_that_leaves_at_any_moment_is_no_trouble(client):
    whole = post(SPEECH, "Expect: 100-continue")
    upload = post(b"--x", path="/v1/audio/voices", length=100).replace(
        b"application/json", b"multipart/form-data; boundary=x"
    )
    purge = post(b"{", path="/v1/cache/purge", length=100)
    for request in (whole, upload, purge):
        for cut in range(0, len(request), 7):
            async with connected(client, request[:cut]) as (_, writer):
                await writer.drain()
                if cut % 2:
                    writer.close()
    await alive(client)


@pytest.fixture(scope="module")
def running():
    """A gateway in a thread of its own, for examples by the hundred; yields its port, its bounds and what it logged."""
    problems, ready, stop = [], queue.Queue(), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = problems.append
    logging.getLogger().addHandler(handler)

    async def run():
        stop.append((asyncio.get_running_loop(), asyncio.Event()))
        async with serving(StubEngine()) as client:
            ready.put((client.port, client.bounds, problems))
            await stop[0][1].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    yield ready.get(timeout=30)
    stop[0][0].call_soon_threadsafe(stop[0][1].set)
    thread.join()
    logging.getLogger().removeHandler(handler)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_bytes_in_any_pieces_bring_the_server_out_of_step(running, data):
    """Random bytes, and requests with random damage, in random pieces: answered or cut, and the next one is served."""
    port, bounds, problems = running
    sent = LIVE + post() + post(b"x" * 50) + LIVE
    kind = data.draw(st.sampled_from(["noise", "damaged", "whole"]))
    if kind == "noise":
        sent = data.draw(st.binary(max_size=300))
    elif kind == "damaged":
        at = data.draw(st.integers(0, len(sent)))
        sent = sent[:at] + data.draw(st.binary(min_size=1, max_size=20)) + sent[at + data.draw(st.integers(0, 20)) :]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    received = exchange(port, *pieces)
    if kind == "whole":
        statuses = re.findall(rb"HTTP/1.1 (\d+)", received)
        assert statuses == [b"200", b"200", b"400", b"200"][: len(statuses)]
    assert exchange(port, LIVE).startswith(b"HTTP/1.1 200 OK\r\n")
    assert bounds.buffered_bytes == 0
    assert not problems, [record.getMessage() for record in problems]


def exchange(port, *pieces):
    """Send pieces, and return all that comes until the connection ends after an answer, or is silent for a moment."""
    received = b""
    with suppress(ConnectionError, TimeoutError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(10 if pieces == (LIVE,) else 0.1)
        while piece := connection.recv(65536):
            received += piece
            if len(pieces) == 1 and pieces[0] == LIVE:
                break
    return received


# -- beside -------------------------------------------------------------------------------------------------------------


def test_workers_get_the_bounds_with_the_configuration():
    made = pickle.loads(pickle.dumps(bounded(ServerSettings(connections=7))))
    assert made.args[0].server.connections == 7


@pytest.mark.parametrize("name", ["header_seconds", "request_seconds", "unread_seconds"])
def test_a_bound_of_time_of_zero_is_refused(name):
    with pytest.raises(ValueError, match=name):
        ServerSettings(**{name: 0})


def test_every_bound_is_documented_with_its_default():
    text = (ROOT / "docs/configuration.md").read_text()
    for name in ("connections", "header_max_bytes", "header_seconds", "request_seconds", "slowest_bytes_per_second",
                 "buffered_max_bytes", "unread_seconds", "unread_max_bytes"):  # fmt: skip
        assert re.search(rf"^\| `server\.{name}` \| `", text, re.MULTILINE), name
